"""Signatures of ssh keys, made and verified by ssh-keygen (`ssh-keygen -Y`, OpenSSH 8.1 or later).

What verifies is a process of the user nobody with bounds on its time: it reads what the network brought.
"""

import os
import resource
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hostfw.bundle.manifest import BundleError
from hostfw.host.download.messages import plain
from hostfw.host.download.process import NOBODY
from hostfw.host.errors import HostError, reason

NAMESPACE = "hostfw"
"""The purpose of a signature; a line of the allowed signers may be for some namespaces alone."""
TOOL = "ssh-keygen"
MOST_SIGNERS_BYTES = 1024 * 1024

_WITHIN_S = 20.0
_SIGN_WITHIN_S = 300.0
"""Somebody may have to type a passphrase, or to touch a key."""
_CPU_S = 20


def sign(text: bytes, key: Path) -> bytes:
    """The signature of a text by a private key, or by the key of an agent whose public half is given.

    Raises BundleError and HostError.
    """
    if not os.path.exists(key):  # noqa: PTH110  Path.exists raises where a directory above cannot be searched
        raise BundleError(f"{key} is not a key: there is no such file", "`ssh-keygen -t ed25519 -f FILE` makes one")
    done = _run(("-Y", "sign", "-n", NAMESPACE, "-f", str(key)), text, None, _SIGN_WITHIN_S)
    if done.returncode:
        raise BundleError(f"{key} does not sign: {_last_line(done.stderr)}", "name a private key of ssh with --key")
    return done.stdout


def verify(text: bytes, signature: bytes, signers: Path) -> str:
    """The principal of the allowed signers who signed a text. Raises BundleError if none of them did, and HostError."""
    allowed = _read_signers(signers)
    with tempfile.TemporaryDirectory(prefix="hostfw-signature-") as name:
        folder = Path(name)
        try:
            folder.chmod(0o755)
            for file, content in (("signers", allowed), ("signature", signature)):
                (folder / file).write_bytes(content)
                (folder / file).chmod(0o644)
        except OSError as error:
            raise HostError(
                f"the signature cannot be verified: {folder}: {reason(error)}", "free some space"
            ) from error
        files = ("-s", str(folder / "signature"), "-f", str(folder / "signers"))
        found = _run(("-Y", "find-principals", *files), b"", {})
        principal = found.stdout.decode(errors="replace").partition("\n")[0].strip()
        if found.returncode or not principal:
            raise BundleError(
                f"it is not signed by anybody whom {signers} allows",
                f"if its key is to be trusted, add its public half to {signers}",
            )
        checked = _run(("-Y", "verify", "-n", NAMESPACE, "-I", principal, *files), text, {})
    if checked.returncode:
        raise BundleError(
            f"its signature is not that of {plain(principal)} for this manifest in the namespace {NAMESPACE}",
            "publish the bundle again, and find out who changed it on its way",
        )
    return plain(principal)


def _read_signers(path: Path) -> bytes:
    """The allowed signers, which only root may have written where root reads them. Raises HostError."""
    hint = f"put a line of `NAME ssh-ed25519 KEY` into {path}; ssh-keygen(1), ALLOWED SIGNERS"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            info = os.fstat(descriptor)
            if os.geteuid() == 0 and (info.st_uid != 0 or info.st_mode & 0o022):
                raise HostError(f"{path} can be written by others than root", f"chown root: {path}; chmod go-w {path}")
            content = file.read(MOST_SIGNERS_BYTES + 1)
    except OSError as error:
        raise HostError(f"the allowed signers cannot be read: {path}: {reason(error)}", hint) from error
    if len(content) > MOST_SIGNERS_BYTES:
        raise HostError(f"{path} is too big for a list of allowed signers", hint)
    return content


def _run(
    arguments: Sequence[str], given: bytes, environment: Mapping[str, str] | None, within_s: float = _WITHIN_S
) -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen; with an environment of its own it also runs without rights. Raises HostError."""
    confined = environment is not None
    drop = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if confined and os.geteuid() == 0 else {}
    try:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]  # the keywords depend on who we are
            (TOOL, *arguments),
            input=given,
            capture_output=True,
            timeout=within_s,
            check=False,
            cwd="/" if confined else None,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment} if environment is not None else None,
            preexec_fn=_bound if confined else None,
            **drop,
        )
    except FileNotFoundError as error:
        raise HostError(f"{TOOL} is missing, which signs and verifies bundles", "apt install openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{TOOL} was not done within {within_s:.0f} s") from error
    except OSError as error:
        raise HostError(f"{TOOL} cannot be run: {reason(error)}") from error


def _bound() -> None:
    """Bound the processor time and the files of a process before it runs."""
    for kind, most in ((resource.RLIMIT_CPU, _CPU_S), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))


def _last_line(text: bytes) -> str:
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return plain(lines[-1].strip()) if lines else "it says nothing"
