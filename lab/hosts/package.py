"""hostfw on a host of the tests, from the Debian package that users install."""

import shutil
import subprocess
from pathlib import Path

from lab.hosts.host import Host
from lab.namespace import LabError

_HERE = "/root/hostfw.deb"
_BUILD_S = 300


def build_package(checkout: Path, into: Path) -> Path:
    """The package of a checkout, built anew and copied into a directory. Raises LabError with what the build said."""
    done = subprocess.run(
        [checkout / "tools" / "build-deb"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_S,
    )
    built = max(checkout.glob("dist/hostfw_*_all.deb"), key=lambda path: path.stat().st_mtime, default=None)
    # A package that lintian has something to say of is a package: its exit status is another test's business.
    if built is None or (done.returncode != 0 and "lintian" not in done.stderr and "W: hostfw" not in done.stderr):
        raise LabError(f"tools/build-deb failed; `tools/bootstrap deb` installs what it needs:\n{done.stderr}")
    return Path(shutil.copy(built, into))


def install_package(host: Host, package: Path) -> None:
    """Install the package on a running host, or upgrade to it, without a network."""
    host.run(["rm", "-f", _HERE])
    host.copy_in(package, _HERE)
    host.run(["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", _HERE])
