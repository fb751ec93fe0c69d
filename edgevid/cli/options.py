"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from edgevid.errors import InputError

Actions = Annotated[str | None, Option(help="Action recognizer (recipe): adds what each object does.")]
Browser = Annotated[bool, Option("--browser/--no-browser", help="Open the page in the browser.")]
Calibration = Annotated[Path | None, Option(help="Camera calibration (TOML): adds speeds.")]
Classes = Annotated[str, Option(help="Only these classes, separated by commas: person,car.")]
Device = Annotated[str, Option(help="auto, cpu or cuda:0.")]
Json = Annotated[Path | None, Option("--json", help="JSON file to write; - prints it.")]
MaxFrames = Annotated[int | None, Option(help="Stop after this many frames.", min=1)]
MinAgreement = Annotated[
    float | None, Option(help="Minimum agreement that passes, 0 to 1; default: the recipe's.")
]
Model = Annotated[str | None, Option(help="Model name (`edgevid models list`), ONNX file or recipe.")]
Port = Annotated[int | None, Option(help="Port; default: the first free one from 8470.", min=0, max=65535)]
Precision = Annotated[str | None, Option(help="fp32, fp16 or int8.")]
Precisions = Annotated[list[str] | None, Option(help="fp32, fp16 or int8; repeatable.")]
Threads = Annotated[int | None, Option(help="CPU threads of a model.", min=1)]
Unit = Annotated[str, Option(help="Unit of speeds: km/h, mph or m/s.")]


def split_names(text: str) -> tuple[str, ...]:
    """The names in a list that is separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def check_unit(unit: str) -> None:
    """InputError for a unit that the overlay does not draw."""
    from edgevid.output.overlay import UNITS

    if unit not in UNITS:
        raise InputError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
