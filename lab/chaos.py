"""The daemon among failures: everything that it asks of the outside may fail, late or at once, at random.

`python3 -m lab.chaos RATE_FILE SEED ARGUMENTS...` runs the daemon with each function and method of each
module of hostfw.host replaced by one that fails now and then, and with system calls on files, its own and those that
pathlib makes for it, that run out of space. The first four bytes of the file say how often, in millionths; whoever runs
the daemon writes them. Each failure is a line of the file beside it that ends in `.failures`: its kind, and its place.
The file that ends in `.called` has the functions that were called at all. One that is called and has never failed in
this file's lifetime fails more often than others, so that what is called seldom fails as well.
"""

import errno
import importlib
import inspect
import io
import mmap
import os
import pkgutil
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any

import hostfw.host
from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NetlinkError

_HOST = "hostfw.host."
RATE = struct.Struct("=I")
_SELDOM = 20
"""The weight of a function that has not failed yet, where that of any other is 1."""
_PURE = frozenset(
    {
        "errors",
        "netlink.messages",
        "nftables.nf_tables",
        "nftables.writing.worker",
        "process.allocator",
        "time.clock",
        "time.debounce",
    }
)
"""Modules that ask nothing of anybody, apart from the netlink sockets, which have failures of their own here."""
_LONGEST_DELAY_S = 0.3
_ERRNOS = (errno.ENOSPC, errno.EIO, errno.EINTR)
_CALLS = ("open", "write", "pwrite", "fsync", "rename", "replace", "unlink", "link", "symlink", "mkdir", "readlink")
"""Of os: what writing a file takes, and finding it."""
_ENDS = ("close", "release")
"""Calls that release resources: the kernel carries them out whatever else fails."""
_BETWEEN = frozenset({"pathlib", "shutil", "lab"})
"""Modules that make a system call for whoever calls them."""


class Chaos:
    """Decides which call fails, and how."""

    def __init__(self, rate_file: Path, seed: int) -> None:
        with rate_file.open("r+b") as file:
            self._rate = mmap.mmap(file.fileno(), RATE.size)
        self._random = random.Random(seed)  # noqa: S311  no secret
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._told = os.open(told_file(rate_file), flags, 0o600)
        self._called_file = os.open(called_file(rate_file), flags, 0o600)
        self._failed = {line.partition(" ")[2] for line in told_file(rate_file).read_text("utf-8").splitlines()}
        self._called = set(called_file(rate_file).read_text("utf-8").splitlines())
        self._write = os.write

    def is_due(self, name: str = "") -> bool:
        """True if the next call is to fail; `name` is of a function that should not be left out."""
        millionths: int = RATE.unpack_from(self._rate)[0]
        if name and name not in self._called:
            self._called.add(name)
            self._write(self._called_file, f"{name}\n".encode())
        if name and name not in self._failed:
            millionths *= _SELDOM
        return millionths > 0 and self._random.randrange(1_000_000) < millionths

    def tell(self, kind: str, where: str) -> None:
        """Note a failure for whoever reads them afterwards."""
        self._failed.add(where)
        self._write(self._told, f"{kind} {where}\n".encode())

    def before(self, name: str) -> None:
        """Fail in place of a call, or let it wait."""
        what = f"injected into {name}"
        match self._random.randrange(6):
            case 0 | 1:
                self.tell("delay", name)
                time.sleep(self._random.random() * _LONGEST_DELAY_S)
            case 2:
                self.tell("HostError", name)
                raise HostError(what)
            case 3:
                self.tell("ENOBUFS", name)
                raise NetlinkError(errno.ENOBUFS, what)
            case 4:
                number = self._random.choice(_ERRNOS)
                self.tell(errno.errorcode[number], name)
                raise OSError(number, f"{os.strerror(number)} {what}")
            case _:
                self.tell("defect", name)
                raise RuntimeError(what)

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which fails now and then."""

        @wraps(function)
        def call(*arguments: object, **named: object) -> Any:  # noqa: ANN401  what the function gives
            if self.is_due(name):
                self.before(name)
            return function(*arguments, **named)

        return call

    def system_call(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A system call on files, which fails now and then as those do, where a module of hostfw.host makes it."""

        @wraps(function)
        def call(*arguments: object, **named: object) -> Any:  # noqa: ANN401  what the function gives
            if self.is_due() and (place := _place_of(inspect.currentframe())) is not None:
                number = self._random.choice(_ERRNOS)
                self.tell(errno.errorcode[number], f"{place}.os.{name}")
                raise OSError(number, os.strerror(number), str(arguments[0]))
            return function(*arguments, **named)

        return call

    def socket_method(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A method of a netlink socket, which fails now and then as the kernel has it."""

        @wraps(function)
        def call(*arguments: object, **named: object) -> Any:  # noqa: ANN401  what the method gives
            if self.is_due():
                number = self._random.choice((errno.ENOBUFS, errno.EINTR, errno.ENOMEM, errno.ETIMEDOUT))
                self.tell(errno.errorcode[number], f"netlink.messages.{function.__name__}")
                raise NetlinkError(number, "injected into a netlink socket")
            return function(*arguments, **named)

        return call


def told_file(rate_file: Path) -> Path:
    """The file in which failures are noted."""
    return rate_file.with_name(f"{rate_file.name}.failures")


def called_file(rate_file: Path) -> Path:
    """The file in which functions are noted that were called."""
    return rate_file.with_name(f"{rate_file.name}.called")


def _place_of(frame: FrameType | None) -> str | None:
    """The module of hostfw.host that makes a system call, itself or through pathlib; None if it is another's."""
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    name: str = frame.f_globals.get("__name__", "") if frame is not None else ""
    return name.removeprefix(_HOST) if name.startswith(_HOST) else None


def install(chaos: Chaos) -> int:
    """Put failures into every module of hostfw.host, before anything else is imported; gives their number."""
    places = 0
    for owner, name in (*((os, name) for name in _CALLS), (io, "open")):
        setattr(owner, name, chaos.system_call(name, getattr(owner, name)))
        places += 1
    for module in _modules(importlib.import_module):
        place = module.__name__.removeprefix(_HOST)
        if place in _PURE:
            continue
        for owner, name, function in list(_functions(module)):
            setattr(owner, name, chaos.wrapped(f"{place}.{name}", function))
            places += 1
    netlink = importlib.import_module("hostfw.host.netlink.messages")
    for name in ("dump", "ask", "ask_each", "transact"):
        if isinstance(method := vars(netlink.NetlinkSocket).get(name), FunctionType):
            setattr(netlink.NetlinkSocket, name, chaos.socket_method(method))
            places += 1
    _spread(importlib.import_module)
    return places


def places() -> frozenset[str]:
    """The modules of hostfw.host that failures are put into."""
    found = (module.__name__.removeprefix(_HOST) for module in _modules(importlib.import_module))
    return frozenset(place for place in found if place not in _PURE) | {"netlink.messages"}


def functions() -> frozenset[str]:
    """The functions and methods of hostfw.host that failures are put into, by module."""
    return frozenset(
        f"{place}.{name}"
        for module in _modules(importlib.import_module)
        if (place := module.__name__.removeprefix(_HOST)) not in _PURE
        for _, name, _ in _functions(module)
    )


def _modules(load: Callable[[str], ModuleType]) -> list[ModuleType]:
    """Load the modules of hostfw.host, those of its packages too."""
    found = pkgutil.walk_packages(hostfw.host.__path__, _HOST)
    return [load(module.name) for module in found if not module.ispkg]


def _functions(module: ModuleType) -> Iterator[tuple[Any, str, FunctionType]]:
    """The public functions of a module, and the public methods of its classes, that are its own."""
    for name, item in vars(module).items():
        if getattr(item, "__module__", None) != module.__name__ or name.startswith("_"):
            continue
        if isinstance(item, FunctionType) and not inspect.isgeneratorfunction(item):
            yield module, name, item
        elif inspect.isclass(item) and not issubclass(item, Exception):
            for method, function in vars(item).items():
                public = isinstance(function, FunctionType) and not method.startswith("_") and method not in _ENDS
                if public and not inspect.isgeneratorfunction(function):
                    yield item, method, function


def _spread(load: Callable[[str], ModuleType]) -> None:
    """Let the modules of hostfw.host that have a function of another by its name have the one that fails."""
    modules = _modules(load)
    failing = {
        id(function.__wrapped__): function
        for module in modules
        for function in vars(module).values()
        if isinstance(function, FunctionType) and hasattr(function, "__wrapped__")
    }
    for module in modules:
        for name, item in list(vars(module).items()):
            if id(item) in failing:
                setattr(module, name, failing[id(item)])


def main() -> int:
    """Run the daemon."""
    rate_file, seed, *arguments = sys.argv[1:]
    install(Chaos(Path(rate_file), int(seed)))
    daemon = importlib.import_module("hostfw.daemon.main")
    status: int = daemon.main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
