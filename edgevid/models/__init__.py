"""Model files: the catalog, downloads, identification."""

from edgevid.models.catalog import find_recipe, recipes
from edgevid.models.hub import get_file, get_model, resolve_model

__all__ = ["find_recipe", "get_file", "get_model", "recipes", "resolve_model"]
