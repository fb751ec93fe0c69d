"""The version, in its one place: the build and the package read it here."""

from __future__ import annotations

__version__ = "0.2.0.dev0"
