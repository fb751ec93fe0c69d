"""Passwords in the command line, which every user of the machine can read with `ps`."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from edgevid.errors import masked

ARG_START = 45
"""Place of the address of the first argument in /proc/self/stat, counted behind the program's name."""


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
