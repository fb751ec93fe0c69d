"""What a command prints: results on standard output, notes and progress on standard error, by -v and -q."""

import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from edgevid.errors import masked

log = logging.getLogger("edgevid")
BROKEN_PIPE = 141  # Exit status where the reader of standard output has ended, as of other programs: 128 + SIGPIPE


class _Verbosity:
    level: int = 0  # -1 with -q, 1 with -v


def set_verbosity(*, verbose: bool = False, quiet: bool = False) -> None:
    """From now on: `quiet` prints only results and errors, `verbose` also the log's debug messages."""
    _Verbosity.level = int(verbose) - int(quiet)


def is_quiet() -> bool:
    """Whether -q was given."""
    return _Verbosity.level < 0


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """The reader has ended (`edgevid ... | head`): so does the command, without a message."""
        end_output()
        raise SystemExit(BROKEN_PIPE)


def results(*, soft_wrap: bool = True, **options: Any) -> Console:
    """The console of a command's results, on standard output."""
    return _Output(soft_wrap=soft_wrap, highlight=False, **options)


def notes(*, soft_wrap: bool = True, **options: Any) -> Console:
    """The console of notes and progress, on standard error; it prints nothing with -q."""
    return Console(stderr=True, soft_wrap=soft_wrap, highlight=False, quiet=is_quiet(), **options)


def errors() -> Console:
    """The console of errors, on standard error; -q does not hide it."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def end_output() -> None:
    """Standard output leads nowhere from now on, so that Python's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def log_shown(console: Console | None = None, *, default: int = logging.WARNING) -> Iterator[None]:
    """Shows the log of edgevid while a command runs: above the bar of `console`, else plain lines.

    From `default` on; -v shows everything, -q only errors.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    if console is not None and sys.stderr.isatty():
        from rich.logging import RichHandler

        handler = RichHandler(console=console, show_path=False, markup=False)
    before, level = log.handlers[:], log.level
    log.handlers[:] = [handler]
    log.setLevel({-1: logging.ERROR, 1: logging.DEBUG}.get(_Verbosity.level, min(level or default, default)))
    try:
        yield
    finally:
        log.handlers[:] = before
        log.setLevel(level)


ARG_START = 45  # Place of the address of the first argument in /proc/self/stat, counted behind the program's name


def mask_process_title() -> None:
    """Overwrites the passwords of addresses in this process's command line; nothing on other systems.

    proc_pid_stat(5): fields 48 and 49 are where the arguments begin and end in memory.
    """
    with suppress(OSError, ValueError, IndexError):
        shown = Path("/proc/self/cmdline").read_bytes()
        hidden = b"\0".join(os.fsencode(masked(os.fsdecode(part))) for part in shown.split(b"\0"))
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[ARG_START]), int(fields[ARG_START + 1])
        if hidden != shown and 0 < start < end and end - start == len(shown):
            ctypes.memmove(start, hidden[: len(shown)].ljust(len(shown), b"\0"), len(shown))
