"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.types import Frame
    from edgevid.zones import Line


def out_option(text: str) -> Any:
    """The option --out of a command, by all its names."""
    return Option("--out", "-o", "--output", help=text)


Actions = Annotated[str | None, Option(help="Action recognizer (recipe): adds what each object does.")]
Recognize = Annotated[list[str], Option(help="TASK=RECIPE, or TASK=RECIPE@DETECTOR inside objects; repeatable.")]
Browser = Annotated[bool, Option("--browser/--no-browser", help="Open the page in the browser.")]
Calibration = Annotated[Path | None, Option(help="Camera calibration (TOML): adds speeds.")]
Classes = Annotated[str | None, Option(help="Such as person,car; default: people and vehicles; or all.")]
Codec = Annotated[str, Option(help="Of --out: auto, h264, vp9, av1, or an encoder such as libx264.")]
Decode = Annotated[str, Option(help="Video decoder: auto, cpu, cuda, vaapi, videotoolbox, qsv or d3d11va.")]
DetectEvery = Annotated[str | None, Option(help="Detect every 3 (frames), every 0.2s, or as needed: auto.")]
Device = Annotated[str, Option(help="auto, cpu, cuda:0 or a provider such as openvino.")]
Force = Annotated[bool, Option("--force", "--overwrite", help="Overwrite outputs that exist.")]
GiveUpS = Annotated[float | None, Option(help="Live: seconds without a frame to the end; or never.", min=0)]
Json = Annotated[Path | None, Option("--json", help="JSON file to write; - prints it.")]
Lines = Annotated[list[str] | None, Option("--line", help=(
    "Count crossings of [NAME=]x1,y1,x2,y2: pixels, or shares up to 1; repeatable."))]  # fmt: skip
MaxFrames = Annotated[int | None, Option(help="Stop after this many frames.", min=1)]
MinAgreement = Annotated[float | None, Option(help="Least that passes, 0 to 1; default: the recipe's.")]
Model = Annotated[str | None, Option(help="Model name (`edgevid models list`), ONNX file or recipe.")]
Port = Annotated[int | None, Option(help="Port; default: the first free one from 8470.", min=0, max=65535)]
Precision = Annotated[str | None, Option(help="fp32, fp16 or int8.")]
Precisions = Annotated[list[str] | None, Option(help="fp32, fp16 or int8; repeatable.")]
RtspTransport = Annotated[str, Option(help="RTSP over tcp or udp; a camera that rejects tcp gets udp.")]
Source = Annotated[str, Argument(help="Video, folder or glob of images, camera number, URL, or - (stdin).")]
SourceOption = Annotated[str, Option("--source", help="The same as the argument.", hidden=True)]
SpeedMethod = Annotated[str | None, Option("--method", help="Speeds by filter, displacement or window.")]
Interval = Annotated[int | None, Option(help="Frames of a displacement (method displacement).", min=1)]
Smoothing = Annotated[int | None, Option(help="Displacements averaged (displacement); default 3.", min=1)]
WindowS = Annotated[float | None, Option(help="Seconds of the window (method window); default 1.", min=0.3)]
GridM = Annotated[float | None, Option(help="Side of the drawn grid's cells in meters.", min=0.01)]
Threads = Annotated[int | None, Option(help="CPU threads of a model.", min=1)]
Unit = Annotated[str, Option(help="Unit of speeds: km/h, mph or m/s.")]


def one_source(argument: str, option: str, *, example: str = "") -> str:
    """The source, given as the argument or by --source; InputError for two, for none with an `example`."""
    if argument and option and argument != option:
        raise InputError(f"--source: expected one source, got {argument} and {option}")
    if example:
        check_source(argument or option, example)
    return argument or option


def speed_options(given: Any) -> dict[str, Any]:
    """The keys of a site that --method, --interval, --smoothing, --window-s and --grid-m set.

    InputError for another method, and for one that does not use what is set.
    """
    from edgevid.speed.estimator import METHODS

    names = {"displacement": ("interval", "smoothing"), "window": ("window_s",)}
    found = {name: getattr(given, name, None) for some in names.values() for name in some}
    used = [method for method, some in names.items() if any(found[name] for name in some)]
    method = getattr(given, "method", None) or (used[0] if used else None)
    if method is not None and method not in METHODS:
        raise InputError(f"--method: expected {', '.join(METHODS)}, got {method!r}")
    for other in used:
        if other != method:
            option = next(name for name in names[other] if found[name]).replace("_", "-")
            raise InputError(f"--{option}: it is one of --method {other}, got --method {method}")
    keys = {f"speed_{name}": value for name, value in found.items()}
    return keys | {"speed_method": method, "grid_m": getattr(given, "grid_m", None)}


def check_source(source: str, example: str) -> None:
    """InputError where there is no source: what one is, with an example."""
    if not source:
        kinds = "a file, a folder of images, a camera's number or an address"
        raise InputError(f"expected a source, got none: {kinds}, such as `{example}`")


def split_names(text: str | None, option: str = "") -> tuple[str, ...]:
    """The names in a list that is separated by commas; InputError where `option` was given without a name."""
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and option and not names:
        raise InputError(f"{option}: expected names such as person,car, got {text!r}; leave it out for all")
    return names


def parse_lines(texts: list[str] | None) -> tuple[Line, ...]:
    """The lines of --line; those whose numbers are all 0 to 1 are in shares of the frame."""
    from edgevid.zones import Line

    lines = []
    for n, text in enumerate(texts or (), 1):
        name, _, numbers = text.rpartition("=")
        try:
            x1, y1, x2, y2 = found = [float(number) for number in numbers.split(",")]
            if not all(map(math.isfinite, found)):
                raise ValueError
        except ValueError:
            form = "x1,y1,x2,y2, such as 0,300,640,300 in pixels or 0,0.5,1,0.5 in shares of the frame"
            raise InputError(f"--line: expected {form}, got {text!r}") from None
        relative = all(0 <= number <= 1 for number in found)
        lines.append(Line(name or f"line {n}", (x1, y1), (x2, y2), relative=relative))
    return tuple(lines)


def check_codec(codec: str) -> None:
    """InputError for a codec that no video writer knows: before a model is loaded."""
    from edgevid.video.writer import check_codec as check

    check(codec)


def check_unit(unit: str) -> None:
    """InputError for a unit that the overlay does not draw."""
    from edgevid.output.overlay import UNITS

    if unit not in UNITS:
        raise InputError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")


def parse_size(text: str, option: str) -> int | tuple[int, int]:
    """The side, or (height, width), of "640", "384x640" or "384,640"; InputError for anything else."""
    sides = text.lower().replace(",", "x").split("x")
    if len(sides) > 2 or not all(s.strip().isdecimal() and int(s) > 0 for s in sides):
        raise InputError(f"{option}: expected pixels, like 640 or 384x640 (height x width), got {text!r}")
    height, width = int(sides[0]), int(sides[-1])
    return height if len(sides) == 1 else (height, width)


FRAMES = 4  # Frames that an export is verified on


def exported(model: str | None, source: str) -> str | None:
    """`model`, or where it is a file of Ultralytics weights (.pt), the ONNX file of its export.

    It is verified on frames of `source` where that is a file or a folder, else on a rendered street.
    """
    if not model or Path(model).suffix != ".pt":
        return model
    from edgevid.optimize.export import export_cached

    return str(export_cached(model, lambda: _frames(source)))


def _frames(source: str) -> list[Frame]:
    if source and Path(source).exists():
        from edgevid.optimize.frames import read_frames

        return [named.frame for named in read_frames(source, FRAMES)]
    from edgevid.synthetic.render import RenderedStreet

    return list(islice(iter(RenderedStreet()), FRAMES))
