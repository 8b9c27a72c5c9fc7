"""Signals as they are meant to be, whatever the program that started us has left: exec(2) hands on what is ignored.

While SIGCHLD is ignored the kernel forgets how children ended, and `subprocess` takes every end for a success: a timer
that systemd refused would count as started. A signal that is blocked never comes.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Every verb imports this module, and none needs a loop.
    from asyncio import AbstractEventLoop

_MESSAGES = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals whose default ends a process, and by which others mean to say something."""


def take_defaults() -> None:
    """Be able to wait for children and for time, and block nothing. What nohup(1) and shells ignore stays so."""
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def hear_nothing() -> None:
    """Have no signal end the service that others may mean for something else.

    They are not ignored, which children would inherit.
    """
    for number in _MESSAGES:
        signal.signal(number, _nothing)


def end_at_once() -> None:
    """Have SIGINT end the process as SIGTERM does, unless it is ignored, until something handles it.

    Python makes it a KeyboardInterrupt, which a callback of the garbage collector or of an import loses.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_in_peace() -> None:
    """Ignore what would end a process that ends anyway: Python has its handlers at their defaults before it goes."""
    for number in (*_MESSAGES, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_back() -> Iterator[None]:
    """Block the signals of a service on this thread, so that a child begins with them blocked, and misses none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_MESSAGES, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def handled(loop: "AbstractEventLoop", actions: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Have signals do something in an event loop for the length of the block, and after it what they did before.

    `add_signal_handler` would leave them at their defaults once the loop is closed, by which one that comes as the
    service ends is taken for its failure.
    """

    def hear(number: int, _: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(actions[signal.Signals(number)])

    # Any handler of the loop has it wake up for all signals; this one's default is to be ignored.
    loop.add_signal_handler(signal.SIGURG, _nothing, signal.SIGURG, None)
    before = {number: signal.signal(number, hear) for number in actions}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(_: int, __: FrameType | None) -> None:
    return None
