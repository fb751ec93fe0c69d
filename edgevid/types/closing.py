"""What a `with` block closes at its end, and how long work reports."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound="Closing")
Progress = Callable[[int, int, str], None]  # Called with what is done, its total, and a text


class Closing(ABC):
    """A context manager that closes itself."""

    @abstractmethod
    def close(self) -> None:
        """Frees what it holds."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
