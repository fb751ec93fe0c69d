"""A `with` block closes what it holds, whatever happens in it."""

from __future__ import annotations

import pytest

from edgevid.types import Closing


class Door(Closing):
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_block_gives_the_object_itself_and_closes_it_once() -> None:
    with Door() as door:
        assert isinstance(door, Door)
        assert door.closed == 0
    assert door.closed == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_closes_it_and_goes_on(error: type[BaseException]) -> None:
    door = Door()

    def fail() -> None:
        with door:
            raise error

    with pytest.raises(error):
        fail()
    assert door.closed == 1


def test_what_cannot_be_closed_cannot_be_made() -> None:
    class Window(Closing):
        pass

    with pytest.raises(TypeError, match="close"):
        Window()  # type: ignore[abstract]
