"""The version of the nft program of this host."""

import os
import subprocess
from functools import lru_cache
from pathlib import Path

_NFT_PATHS = ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft")


def nft_version() -> str:
    """The version of nft, such as "1.0.6", or "" if there is none. Takes 5 ms for a program not asked before."""
    program = next((path for path in _NFT_PATHS if os.access(path, os.X_OK)), None)
    if program is None:
        return ""
    try:
        info = Path(program).stat()
    except OSError:
        return ""
    version = _version_of(program, (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
    if not version:
        # It may be a matter of this moment.
        _version_of.cache_clear()
    return version


@lru_cache(maxsize=1)
def _version_of(program: str, _stamp: tuple[int, ...]) -> str:
    """The version of nft that a file is, told apart from others by its stamp."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    words = answer.stdout.split()
    return words[1].removeprefix("v") if len(words) > 1 else ""
