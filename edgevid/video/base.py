"""What every source of frames counts, and its life as a context manager."""

from edgevid.types.closing import Closing
from edgevid.types.peers import Hinted


class SourceBase(Closing, Hinted):
    """The counters of a source; subclasses fill them and yield frames."""

    live = False
    independent = False
    """Whether the frames are unrelated photos: objects are not tracked from one to the next."""

    def __init__(self) -> None:
        self.size: tuple[int, int] = (0, 0)  # (width, height) in pixels of the frames as they are handed on
        self.fps: float | None = None  # Average frame rate, for display only
        self.frame_count: int | None = None  # How many frames the container announces; None where it does not
        self.decoded = 0
        self.corrupted = 0  # Packets or images that could not be decoded and were skipped
        self.damaged = 0  # Frames that were handed on with `Frame.damaged`
        self.dropped = 0
        """Frames left out because their time did not go forward (or, live, because a newer one was there)."""

    def close(self) -> None:
        """Releases the source's resources."""
