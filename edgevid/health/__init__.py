"""Camera health: has the camera moved, do its speeds drift."""

from edgevid.health.monitor import Alarm, CameraHealth
from edgevid.health.quality import ImageQuality, Quality
from edgevid.health.speed_drift import SpeedDriftDetector
from edgevid.health.view_monitor import State, ViewMonitor

__all__ = [
    "Alarm", "CameraHealth", "ImageQuality", "Quality", "SpeedDriftDetector", "State", "ViewMonitor"
]  # fmt: skip
