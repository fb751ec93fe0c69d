"""The loop around the pipeline: summary, watchdog, signals."""

from edgevid.run.loop import Summary, run
from edgevid.run.signals import ended_by_sigterm, uninterrupted
from edgevid.run.video import process
from edgevid.run.watchdog import Watchdog

__all__ = ["Summary", "Watchdog", "ended_by_sigterm", "process", "run", "uninterrupted"]
