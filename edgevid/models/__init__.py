"""Model files: the catalog, downloads, identification."""

from __future__ import annotations

from edgevid.models.hub import find_recipe, get_model, recipes, resolve_model

__all__ = ["find_recipe", "get_model", "recipes", "resolve_model"]
