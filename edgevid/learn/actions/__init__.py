"""Training of temporal heads for action recognition."""
