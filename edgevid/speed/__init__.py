"""Speed over the ground: camera calibration, contact points, estimators."""

from edgevid.speed.abstain import SpeedPolicy
from edgevid.speed.calibration import CameraCalibration, make_calibration, rectangle
from edgevid.speed.calibration_file import read_calibration, write_calibration
from edgevid.speed.calibration_report import CalibrationReport, examine
from edgevid.speed.displacement import Displacement
from edgevid.speed.estimator import SpeedEstimator

__all__ = [
    "CalibrationReport", "CameraCalibration", "Displacement", "SpeedEstimator", "SpeedPolicy", "examine",
    "make_calibration", "read_calibration", "rectangle", "write_calibration",
]  # fmt: skip
