"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from edgevid.errors import InputError, check_choice
from edgevid.files.pipe import readable
from edgevid.files.toml import read_toml

if TYPE_CHECKING:
    from edgevid.types import Frame
    from edgevid.zones import Line


TYPES: dict[str, Any] = {"text": str, "texts": list[str], "path": Path, "paths": list[Path], "number": float,
                         "count": int, "flag": bool, "two paths": tuple[Path, Path]}  # fmt: skip
"""What a TOML file calls the types of options."""
SHARED = read_toml(Path(__file__).with_name("shared.toml"))


def one_source(argument: str, option: str, *, example: str = "") -> str:
    """The source, given as the argument or by --source; InputError for two, for none with an `example`."""
    if argument and option and argument != option:
        raise InputError(f"--source: expected one source, got {argument} and {option}")
    if example:
        check_source(argument or option, example)
    return argument or option


def give_options(command: Callable[..., None], *files: Path | dict[str, Any], part: str = "") -> dict[str, str]:
    """Gives a command the options that TOML files, or tables of them, declare, all or in one `part`, a later one
    instead of an earlier one of the same name; those that are keys of a site, with these keys."""
    keys, parameters = dict[str, str](), list[inspect.Parameter]()
    read = [file if isinstance(file, dict) else read_toml(file) for file in files]
    tables = [one[part] if part else one for one in read]
    for name, given in {name: table for one in tables for name, table in one.items()}.items():
        table = SHARED.get(given.get("use"), {}) | given
        keys |= {name: table.pop("site")} if "site" in table else {}
        absent = inspect.Parameter.empty if table.pop("required", False) else None
        default, kind = table.pop("default", absent), TYPES[table.pop("type")]
        make: Any = Argument if table.pop("argument", False) else Option
        table.pop("use", None)
        hint: Any = Annotated[kind if default is not None else kind | None, make(*table.pop("names", ()), **table)]
        where = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(name, where, default=default, annotation=hint))
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return keys


def parameters_of(callee: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options that are given and that a function, or a class, has as parameters of the same names."""
    names = inspect.signature(callee).parameters
    return {name: value for name, value in options.items() if name in names and value is not None}


OUTPUTS = {"out", "jsonl", "csv", "mot", "events", "timeline", "sqlite", "parquet", "coco", "yolo", "html", "json_out",
           "image", "export", "report", "keep_worst", "save_ranges", "save_abstained", "record", "write"}  # fmt: skip
STREAMS = {(command, name) for command in ("run", "demo", "doctor") for name in ("source", "source_option")}


def readable_inputs(command: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a command, with copies of pipes where it reads files; SourceError for devices."""

    def ready(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(ready, value))
        return readable(value) if isinstance(value, (str, Path)) else value

    kept = {name for name in options if name in OUTPUTS or (command, name) in STREAMS}
    return {name: value if name in kept else ready(value) for name, value in options.items()}


SERVING = ("token_file", "viewer_token_file", "tls_cert", "tls_key", "allow_host")


def serving(given: Any) -> dict[str, Any]:
    """The options of a page's server, of SERVING; tokens are in files or in the environment, which others do not see,
    as they would a command line. InputError for a file that cannot be read."""
    return {"token": _token(given.token_file, "EDGEVID_TOKEN"), "allowed_hosts": given.allow_host,
            "viewer_token": _token(given.viewer_token_file, "EDGEVID_VIEWER_TOKEN"), "tls_cert": given.tls_cert,
            "tls_key": given.tls_key}  # fmt: skip


def _token(file: Path | None, variable: str) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() if file else os.environ.get(variable) or None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise InputError(f"{file}: expected a file with a token, got: {reason}; check the path") from None


def choose_method(given: Any) -> None:
    """Sets the method of --interval, --smoothing and --window-s where --method is not given. InputError for another
    method, and for one that does not use what is set."""
    from edgevid.speed.estimator import METHODS

    owners = {"interval": "displacement", "smoothing": "displacement", "window_s": "window"}
    used = {name: method for name, method in owners.items() if getattr(given, name)}
    given.method = given.method or next(iter(used.values()), None)
    if given.method is not None:
        check_choice(given.method, METHODS, "--method")
    for name, method in used.items():
        if method != given.method:
            option = name.replace("_", "-")
            raise InputError(f"--{option}: it is one of --method {method}, got --method {given.method}")


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
        lines.append(Line(name or f"line {n}", (x1, y1), (x2, y2), relative=all(0 <= number <= 1 for number in found)))
    return tuple(lines)


def check_unit(unit: str) -> None:
    """InputError for a unit that the overlay does not draw."""
    from edgevid.output.overlay import UNITS

    check_choice(unit, UNITS, "unit")


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

    It is verified on frames of `source` where that is a file or a folder, else on a rendered street."""
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
