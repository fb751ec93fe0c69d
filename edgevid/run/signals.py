"""Signals: a run that is stopped finishes its outputs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turns SIGTERM (a service or container is stopped) into KeyboardInterrupt, so that outputs are finished.
    In the main thread, where Python handles signals, and where the program has no handler of its own; elsewhere
    nothing changes."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays Ctrl-C and SIGTERM until the block has ended, so that its writes are whole; a second one is not
    delayed. In the main thread, where Python handles signals; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def later(number: int, _: object) -> None:
        if pending:
            raise KeyboardInterrupt
        pending.append(number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not None]
    before = [(number, signal.signal(number, later)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if pending:
        signal.raise_signal(pending[0])
