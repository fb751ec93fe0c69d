"""What each object is doing: recognisers of clips, streams, features, pictures and skeletons."""

from __future__ import annotations

from edgevid.actions.base import Recogniser
from edgevid.actions.image import ImageRecogniser
from edgevid.actions.store import StateStore

__all__ = ["ImageRecogniser", "Recogniser", "StateStore"]
