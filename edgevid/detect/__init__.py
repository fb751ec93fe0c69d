"""Objects in frames: preprocessing, the model, decoding, non-maximum suppression."""

from edgevid.detect.detector import Detector
from edgevid.detect.gate import Gate
from edgevid.detect.predict import FunctionDetector
from edgevid.detect.preprocess import LetterboxTransform, Preprocessor

__all__ = ["Detector", "FunctionDetector", "Gate", "LetterboxTransform", "Preprocessor"]
