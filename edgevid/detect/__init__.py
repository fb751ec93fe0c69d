"""Objects in frames: preprocessing, the model, decoding, non-maximum suppression."""

from edgevid.detect.detector import Detector
from edgevid.detect.gate import Every, Gate
from edgevid.detect.predict import FunctionDetector
from edgevid.detect.preprocess import LetterboxTransform, Preprocessor, crop

__all__ = ["Detector", "Every", "FunctionDetector", "Gate", "LetterboxTransform", "Preprocessor", "crop"]
