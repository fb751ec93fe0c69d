"""edgevid: on-device video analytics that knows when to be silent."""

__version__ = "0.1.0"
