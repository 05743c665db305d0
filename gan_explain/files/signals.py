"""SIGTERM and SIGINT: a first one is heard, a second one ends the process at once. Python hears signals in the main thread alone;
elsewhere nothing here has an effect."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def heard(hear: Callable[[int], None]) -> Iterator[None]:
    """Call `hear(number)` when a signal comes in the block; after it they mean what they meant before."""
    try:
        before = {each: signal.signal(each, lambda number, frame: hear(number)) for each in STOPPING}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def next_is_fatal() -> None:
    """From now on a signal ends the process at once."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_DFL)


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, with KeyboardInterrupt, so that what is half done is taken back."""

    def hear(number: int) -> None:
        next_is_fatal()
        raise KeyboardInterrupt

    with heard(hear):
        yield


@contextmanager
def held() -> Iterator[None]:
    """A signal that comes in the block acts at its end: for what must not be left half done."""
    came: list[int] = []
    try:
        with heard(came.append):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])
