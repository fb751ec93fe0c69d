"""`edgevid schema`: the JSON Schema of a configuration file, for editors, and of events and records."""

import json
from typing import Annotated, Any

from typer import Argument

from edgevid.errors import InputError, did_you_mean

FILES = ("site", "recipe", "policy", "calibration", "event", "record")


def command(file: Annotated[str, Argument(help=f"{', '.join(FILES[:-1])} or {FILES[-1]}.")]) -> None:
    """Print the JSON Schema of a configuration file, for editors, or that of events or records."""
    print(json.dumps(file_schema(file), indent=2, ensure_ascii=False))


def file_schema(file: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file; InputError for a kind that has none."""
    from edgevid.files.schema import json_schema

    if file not in FILES:
        hint = did_you_mean(file, FILES)
        raise InputError(f"schema: expected one of {', '.join(FILES)}, got {file!r}{hint}")
    title = f"edgevid {file} file" if file in FILES[:4] else f"edgevid {file}"
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    if file == "record":
        from edgevid.output.records import record_schema

        return head | record_schema(json_schema(kinds()["event"]))
    return head | {k: v for k, v in json_schema(kinds()[file]).items() if k != "title"}


def kinds() -> dict[str, Any]:
    """The dataclass of each of FILES but the record, which has none."""
    from edgevid.abstain.file import PolicyTable
    from edgevid.runtime.recipe_file import RecipeFile
    from edgevid.site.file import SiteFile
    from edgevid.speed.calibration_file import CalibrationTable
    from edgevid.types import Event

    return dict(zip(FILES[:-1], (SiteFile, RecipeFile, PolicyTable, CalibrationTable, Event), strict=True))
