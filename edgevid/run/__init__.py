"""The loop around the pipeline: summary, watchdog, signals."""

from __future__ import annotations

from edgevid.run.loop import Summary, run

__all__ = ["Summary", "run"]
