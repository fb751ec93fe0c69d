"""Training of a compact detector."""
