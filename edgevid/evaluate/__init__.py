"""Measured quality: metrics, and the tuning of thresholds."""

from edgevid.evaluate.describe import describe
from edgevid.evaluate.items import Item, read_items

__all__ = ["Item", "describe", "read_items"]
