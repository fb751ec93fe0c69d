"""Camera health: has the camera moved, do its speeds drift."""
