"""`edgevid run --show`: the overlay in a window, where OpenCV has one."""

import os
import sys
from typing import Any

from edgevid.errors import InputError, require
from edgevid.types import Frame, Result
from edgevid.types.closing import Closing

TITLE = "edgevid"
END_KEYS = (27, ord("q"))  # Escape and q


class Window(Closing):
    """A sink that shows each frame with its overlay; q or Escape ends the run as Ctrl-C does.

    InputError where there is no display, or where OpenCV was built without windows.
    """

    def __init__(self, unit: str = "km/h", *, scores: bool = False) -> None:
        from edgevid.output.overlay import Overlay

        self._cv2: Any = require("cv2", extra="opencv", purpose="--show")
        self._overlay = Overlay(unit=unit, scores=scores)
        linux = sys.platform.startswith("linux")
        display = not linux or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        try:
            if not display:  # Qt would end the process
                raise InputError("there is no display")
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL)
        except (self._cv2.error, InputError) as error:
            why = error if isinstance(error, InputError) else "this OpenCV has no windows (a headless build)"
            raise InputError(
                f"--show: expected a window to open: {why}; `edgevid-demo SOURCE` shows it in a browser, "
                "--out FILE.mp4 writes it"
            ) from None

    def write(self, frame: Frame, result: Result) -> None:
        """Shows one frame."""
        self._cv2.imshow(TITLE, self._overlay.draw(frame, result)[:, :, ::-1])
        if self._cv2.waitKey(1) & 0xFF in END_KEYS:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Closes the window."""
        self._cv2.destroyAllWindows()
