"""The `edgevid` command: one module per subcommand, each with `command`, a function or a Typer group.

This module imports nothing heavy: Ctrl-C and SIGTERM are handled before the rest is loaded."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without the enumerations, which take 10 ms to import
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def app() -> Any:
    """The assembled command-line application, a typer.Typer."""
    from edgevid.cli.command_line import make_app

    return make_app()


def demo_main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid-demo`."""
    main(arguments, "edgevid-demo")


def build_main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid-build`, the TensorRT build script."""
    main(arguments, "edgevid-build")


def main(arguments: list[str] | None = None, program: str = "edgevid") -> None:
    """Entry point of `edgevid`. Exits with 128 + the signal's number where Ctrl-C or SIGTERM ended it;
    docs/command-line.md lists the other statuses."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def stop(number: int, frame: Any) -> None:
        while frame is not None and frame.f_code is not main.__code__:
            if frame.f_code.co_filename.startswith("<frozen importlib"):  # broken off, it would leave half a module
                signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                return
            frame = frame.f_back
        received.append(number)
        raise KeyboardInterrupt

    status: Any = 0
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler != signal.SIG_IGN:
                before[number] = handler
                signal.signal(number, stop)
    except ValueError:  # in another thread than the main one, where Python handles no signals
        before.clear()
    try:
        from edgevid.cli.command_line import run_program

        status = run_program(program, arguments)
    except (Exception, KeyboardInterrupt) as error:
        if not (received or isinstance(error, KeyboardInterrupt)):  # DuckDB has words of its own for a signal
            raise
        status = 128 + signal.SIGINT
    finally:
        for number, handler in before.items():  # a program that ends stops at once, without a traceback
            signal.signal(number, signal.SIG_DFL if arguments is None else handler)
    sys.exit(128 + received[0] if received else status)
