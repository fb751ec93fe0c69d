"""Camera health: has the camera moved, do its speeds drift."""

from edgevid.health.monitor import CameraHealth
from edgevid.health.speed_drift import SpeedDriftDetector
from edgevid.health.store import Alarm
from edgevid.health.view_monitor import State, ViewMonitor

__all__ = ["Alarm", "CameraHealth", "SpeedDriftDetector", "State", "ViewMonitor"]
