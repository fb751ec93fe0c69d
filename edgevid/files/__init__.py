"""Text, files and folders: what is read and written on disk, in one way each."""

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from edgevid.files.atomic import atomic_path, check_file, check_folder, make_folder, move_into_place, write_atomic
from edgevid.files.digest import sha256, sha256_of, sha256_of_all
from edgevid.files.fields import Count, Positive, Share, check_fields
from edgevid.files.folders import cache_folder, camera_spool, engines_folder, file_name
from edgevid.files.schema import REQUIRED, Checked, Sha256, checked, pick, vars_of
from edgevid.files.toml import Row, edit_toml, read_toml, toml_table, toml_text

__all__ = ["REQUIRED", "Checked", "Count", "Positive", "Row", "Sha256", "Share", "atomic_path", "cache_folder",
           "camera_spool", "check_fields", "check_file", "check_folder", "checked", "edit_toml", "engines_folder",
           "file_name", "fill_page", "make_folder", "move_into_place", "pick", "read_toml", "sha256", "sha256_of",
           "sha256_of_all", "toml_table", "toml_text", "vars_of", "write_atomic"]  # fmt: skip


def fill_page(template: Path, title: str, data: Any) -> str:
    """An HTML page that is one file and loads nothing: the template with $title, $common, which is page.js, and $data:
    plain values as a literal of JavaScript (NaN is one there), which the template's own script draws."""
    literal = json.dumps(data).replace("<", "\\u003c")  # nothing in it ends the script
    common = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    return Template(template.read_text(encoding="utf-8")).substitute(title=escape(title), common=common, data=literal)
