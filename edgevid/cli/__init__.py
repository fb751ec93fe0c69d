"""The `edgevid` command: one module per subcommand, each with `command`, a function or a Typer group.

This module imports nothing heavy: Ctrl-C and SIGTERM are handled before the rest is loaded.
"""

import signal
import sys
import threading
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

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    status: Any = 0
    try:
        for number in before:
            signal.signal(number, stop)
        from edgevid.cli.command_line import run_program

        status = run_program(program, arguments)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    finally:
        for number, handler in before.items():  # a program that ends stops at once, without a traceback
            signal.signal(number, signal.SIG_DFL if arguments is None else handler)
    sys.exit(128 + received[0] if received else status)
