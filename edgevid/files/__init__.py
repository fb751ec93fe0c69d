"""Text, files and folders: what is read and written on disk, in one way each."""

from edgevid.files.atomic import atomic_path, check_file, check_folder, make_folder, move_into_place, write_atomic
from edgevid.files.digest import sha256, sha256_of, sha256_of_all
from edgevid.files.fields import Count, Positive, Share, check_fields
from edgevid.files.folders import cache_folder, camera_spool, engines_folder, file_name
from edgevid.files.page import fill_page
from edgevid.files.schema import REQUIRED, Checked, Sha256, checked, pick, vars_of
from edgevid.files.toml import Row, edit_toml, read_toml, toml_table, toml_text

__all__ = [
    "REQUIRED", "Checked", "Count", "Positive", "Row", "Sha256", "Share", "atomic_path", "cache_folder",
    "camera_spool", "check_fields", "check_file", "check_folder", "checked", "edit_toml", "engines_folder",
    "file_name", "fill_page", "make_folder", "move_into_place", "pick", "read_toml", "sha256", "sha256_of",
    "sha256_of_all", "toml_table", "toml_text", "vars_of", "write_atomic",
]  # fmt: skip
