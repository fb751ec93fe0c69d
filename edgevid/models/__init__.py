"""Model files: the catalog, downloads, identification."""

from edgevid.models.hub import find_recipe, get_file, get_model, recipes, resolve_model

__all__ = ["find_recipe", "get_file", "get_model", "recipes", "resolve_model"]
