"""Two engines on the same frames."""
