"""Training of a compact detector of your own scenes."""
