"""Model files: the catalog, downloads, identification."""
