"""Training of temporal heads."""
