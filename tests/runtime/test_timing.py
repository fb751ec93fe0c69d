"""The timing loop: models take turns, and only the counted runs are kept."""

from __future__ import annotations

from edgevid.runtime.processor import take_turns


def test_models_take_turns_and_the_warm_up_is_not_kept() -> None:
    order: list[tuple[str, int]] = []

    def of(name: str) -> object:
        def call(number: int) -> str:
            order.append((name, number))
            return f"{name}{number}"

        return call

    turns: list[int] = []
    found = take_turns([of("a"), of("b")], 2, 1, turns.append)  # type: ignore[list-item]
    assert order == [("a", -1), ("b", -1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert found == [["a0", "a1"], ["b0", "b1"]]
    assert turns == [-1, 0, 1]
