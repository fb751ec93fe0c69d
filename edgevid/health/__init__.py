"""Camera health: has the camera moved, do its speeds drift."""

from edgevid.health.monitor import Alarm, CameraHealth
from edgevid.health.speed_drift import SpeedDriftDetector
from edgevid.health.view_monitor import ImageQuality, Quality, State, ViewMonitor

__all__ = ["Alarm", "CameraHealth", "ImageQuality", "Quality", "SpeedDriftDetector", "State", "ViewMonitor"]
