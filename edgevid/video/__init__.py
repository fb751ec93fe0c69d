"""Frames from files, folders of images, cameras, streams and arrays, each with the stream's own times."""

from edgevid.video.connect import StreamEvent
from edgevid.video.files import FileSource
from edgevid.video.frames import Source
from edgevid.video.images import ArraySource, ImageSource
from edgevid.video.live import LiveSource
from edgevid.video.open import FrameSeeker, open_video
from edgevid.video.writer import VideoWriter

__all__ = ["ArraySource", "FileSource", "FrameSeeker", "ImageSource", "LiveSource", "Source", "StreamEvent",
           "VideoWriter", "open_video"]  # fmt: skip
