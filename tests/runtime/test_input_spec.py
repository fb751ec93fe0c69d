"""InputSpec rejects what it cannot mean."""

from __future__ import annotations

import pytest

from edgevid.errors import InputError
from edgevid.runtime.engine import InputSpec

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"std": (1.0, NAN, 1.0)}, "finite"),
        ({"std": (INF, 1.0, 1.0)}, "finite"),
        ({"mean": (0.0, NAN, 0.0)}, "finite"),
        ({"pad": NAN}, "from 0 to 255"),
        ({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}, r"mean = \[123.675, 116.28, 103.53\]"),
        ({"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}, r"std = \[127.5, 127.5, 127.5\]"),
        ({"dtype": "uint8"}, r"black; expected std = \[1.0, 1.0, 1.0\]"),
        ({"dtype": "int32", "std": (255.0, 255.0, 255.0)}, "black"),
    ],
)
def test_mean_and_std_must_fit_gray_levels(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        InputSpec(**({"width": 4, "height": 4} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "right", [{}, {"std": (1.0, 1.0, 1.0)}, {"dtype": "uint8", "std": (1.0, 1.0, 1.0)}, {"dtype": "float16"}]
)
def test_usual_inputs_are_accepted(right: dict[str, object]) -> None:
    assert InputSpec(**({"width": 4, "height": 4} | right)).width == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"color": "rgb"}, {"resize": "fit"}, {"layout": "CHW"}, {"width": 0}, {"std": (1.0, 0.0, 1.0)}]
)
def test_input_spec_refuses_what_it_cannot_mean(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"InputSpec"):
        InputSpec(**({"width": 4, "height": 4} | wrong))  # type: ignore[arg-type]
