"""A download in a process of its own, without rights, with bounds on its time and on the file that it may write."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from hostfw.host.download.messages import HEADER_BYTES, Answer, DownloadError, Request, answer_of, request_to_json
from hostfw.host.process.import_path import import_path

NOBODY = 65534
"""The user and group of the process if we are root: they own nothing (Debian Policy 9.2.2)."""

_MODULE = "hostfw.host.download"
_GRACE_S = 10.0
_TEXT_BYTES = 128 * 1024 * 1024
"""Above two million prefixes, the longest of which has 44 characters."""
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY")


def fetch(request: Request, folder: Path) -> Answer:
    """Have a request answered by a process without rights; its answer passes through a file in `folder`.

    Raises DownloadError.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            _run(request, file.fileno())
            file.seek(0)
            header = file.readline(HEADER_BYTES)
            text = file.read(_TEXT_BYTES)
    except OSError as error:
        raise DownloadError(f"it cannot be downloaded here: {error.strerror or error}") from error
    answer = answer_of(header, text)
    if answer.problem:
        raise DownloadError(answer.problem)
    return answer


def _run(request: Request, answer: int) -> None:
    """Run the process to its end. Raises OSError, and DownloadError if it did not come to a good one."""
    drop = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}
    process = subprocess.Popen(  # type: ignore[call-overload]  # the keywords depend on who we are
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=answer,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        start_new_session=True,
        preexec_fn=_bound_files,  # noqa: PLW1509  hostfwctl has one thread, and a system call is all it makes
        **drop,
    )
    try:
        process.communicate(request_to_json(request), request.within_s + _GRACE_S)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"it was not complete within {request.within_s:.0f} s") from error
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise DownloadError(f"the process that downloads ended with status {process.returncode}")


def _bound_files() -> None:
    """Bound what the process can ever write into the file that it gets, before it runs."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (_TEXT_BYTES + HEADER_BYTES,) * 2)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": import_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
        **kept,
    }
