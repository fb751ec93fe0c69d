"""Standard input and named pipes: what another program writes, in order, to its end."""

import logging
import os
import sys
from pathlib import Path

from edgevid.errors import SourceError

log = logging.getLogger("edgevid")
STANDARD_INPUT = "-"


def is_pipe(text: str) -> bool:
    """Whether `text` names standard input or a pipe."""
    return text == STANDARD_INPUT or Path(text).is_fifo()


class Pipe:
    """A pipe as a binary file for FFmpeg; Ctrl-C ends a read that waits."""

    def __init__(self, text: str) -> None:
        """Opens the pipe, which waits for a program that writes into it."""
        self.name, self.received = "standard input" if text == STANDARD_INPUT else text, 0
        if text == STANDARD_INPUT and sys.stdin.isatty():
            raise SourceError("-: expected a video on standard input, got a terminal: PROGRAM | edgevid run -")
        if text != STANDARD_INPUT:
            log.info("%s: waiting for a program that writes into the pipe", text)
        self._file = os.dup(sys.stdin.fileno()) if text == STANDARD_INPUT else os.open(text, os.O_RDONLY)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes as they come, b"" at the end."""
        data = os.read(self._file, size)
        self.received += len(data)
        return data

    def readable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Closes it: the program that writes gets a broken pipe."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
