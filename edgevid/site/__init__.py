"""One camera's configuration: read once, built once, checked."""
