"""InputSpec rejects what it cannot mean."""

from __future__ import annotations

import pytest

from edgevid.errors import InputError
from edgevid.runtime.letterbox import InputSpec


@pytest.mark.parametrize(
    "wrong",
    [{"color": "rgb"}, {"resize": "fit"}, {"layout": "CHW"}, {"width": 0}, {"std": (1.0, 0.0, 1.0)}],
)
def test_input_spec_refuses_what_it_cannot_mean(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"InputSpec"):
        InputSpec(**({"width": 4, "height": 4} | wrong))  # type: ignore[arg-type]
