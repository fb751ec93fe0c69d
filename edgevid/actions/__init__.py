"""What each object is doing: recognisers of clips, streams, features, pictures and skeletons."""

from __future__ import annotations

from edgevid.actions.clip import ClipRecogniser
from edgevid.actions.features import FeatureExtractor, PoseExtractor
from edgevid.actions.image import ImageRecogniser
from edgevid.actions.load import load_extractor, load_recogniser
from edgevid.actions.recognizer import Recogniser
from edgevid.actions.segment import OnlineSegments, Segment
from edgevid.actions.sequence import SequenceRecogniser
from edgevid.actions.streaming import StreamRecogniser
from edgevid.actions.track_state import StateStore

__all__ = [
    "ClipRecogniser",
    "FeatureExtractor",
    "ImageRecogniser",
    "OnlineSegments",
    "PoseExtractor",
    "Recogniser",
    "Segment",
    "SequenceRecogniser",
    "StateStore",
    "StreamRecogniser",
    "load_extractor",
    "load_recogniser",
]
