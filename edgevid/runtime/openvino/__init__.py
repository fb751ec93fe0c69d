"""OpenVINO behind the Engine protocol."""
