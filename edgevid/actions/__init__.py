"""Action recognition of each object: recognizers of clips, streams, features, images and skeletons."""

from edgevid.actions.clip import ClipRecognizer, ImageRecognizer, StreamRecognizer
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSection, ClipSpec
from edgevid.actions.features import FeatureExtractor, PoseExtractor
from edgevid.actions.inside import Aligner, InsideRecognizer
from edgevid.actions.load import load_extractor, load_recognizer
from edgevid.actions.recognizer import FunctionRecognizer, Recognizer, input_named, softmax
from edgevid.actions.sequence import OnlineSegments, Segment, SequenceRecognizer
from edgevid.actions.track_state import StateStore
from edgevid.actions.typicality import Typicality

__all__ = ["Aligner", "ClipBuffer", "ClipRecognizer", "ClipSection", "ClipSpec", "FeatureExtractor",
           "FunctionRecognizer", "ImageRecognizer", "InsideRecognizer", "OnlineSegments", "PoseExtractor", "Recognizer",
           "Segment", "SequenceRecognizer", "StateStore", "StreamRecognizer", "Typicality", "input_named",
           "load_extractor", "load_recognizer", "softmax"]  # fmt: skip
