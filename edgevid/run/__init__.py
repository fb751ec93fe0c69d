"""The loop around the pipeline, of one camera and of many: summary, watchdog, signals."""

from edgevid.run.archive import find_videos, local_processes, open_jobs, run_jobs
from edgevid.run.fleet import Camera, CameraStatus, Fleet
from edgevid.run.loop import Summary, run
from edgevid.run.video import process
from edgevid.run.watchdog import Watchdog, ended_by_sigterm, uninterrupted

__all__ = ["Camera", "CameraStatus", "Fleet", "Summary", "Watchdog", "ended_by_sigterm", "find_videos",
           "local_processes", "open_jobs", "process", "run", "run_jobs", "uninterrupted"]  # fmt: skip
