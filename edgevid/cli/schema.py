"""`edgevid schema`: the JSON Schema of a configuration file, so that editors complete and check it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from typer import Argument

from edgevid.errors import InputError, did_you_mean

FILES = ("site", "recipe", "policy", "calibration")


def command(file: Annotated[str, Argument(help=f"{', '.join(FILES[:-1])} or {FILES[-1]}.")]) -> None:
    """Print the JSON Schema of a configuration file, for editors (docs/configuration.md)."""
    print(json.dumps(file_schema(file), indent=2, ensure_ascii=False))


def file_schema(file: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file; InputError for a kind that has none."""
    from edgevid.abstain.file import PolicyTable
    from edgevid.files.schema import json_schema
    from edgevid.runtime.recipe_file import RecipeFile
    from edgevid.site.file import SiteFile
    from edgevid.speed.calibration_file import CalibrationTable

    if file not in FILES:
        raise InputError(
            f"schema: expected one of {', '.join(FILES)}, got {file!r}{did_you_mean(file, FILES)}"
        )
    kinds: tuple[Any, ...] = (SiteFile, RecipeFile, PolicyTable, CalibrationTable)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"edgevid {file} file"}
    return head | {k: v for k, v in json_schema(kinds[FILES.index(file)]).items() if k != "title"}
