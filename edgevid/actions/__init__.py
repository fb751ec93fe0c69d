"""What each object is doing: recognisers of clips, streams, features, pictures and skeletons."""

from __future__ import annotations

from edgevid.actions.base import Recogniser
from edgevid.actions.clip import ClipRecogniser
from edgevid.actions.extract import FeatureExtractor, PoseExtractor
from edgevid.actions.image import ImageRecogniser
from edgevid.actions.load import load_extractor, load_recogniser
from edgevid.actions.segment import OnlineSegments, Segment
from edgevid.actions.sequence import SequenceRecogniser
from edgevid.actions.store import StateStore
from edgevid.actions.stream import StreamRecogniser

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
