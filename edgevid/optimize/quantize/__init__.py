"""INT8 models from real frames."""
