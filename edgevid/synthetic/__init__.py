"""A rendered street and its truth."""

from __future__ import annotations
