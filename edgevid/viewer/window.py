"""`edgevid-demo --window`: the overlay in a native window, where OpenCV has windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import cv2

from edgevid.errors import InputError
from edgevid.overlay import Overlay
from edgevid.tools.run import Summary, run
from edgevid.types import Frame, Result
from edgevid.viewer.gate import Gate
from edgevid.viewer.setting import Setting, overlay_of

TITLE = "edgevid"
KEYS = "q or Escape ends, space pauses, . steps"


def check_window() -> None:
    """InputError where this OpenCV was built without windows, as opencv-python-headless is."""
    found = re.search(r"GUI:\s*(.*)", cv2.getBuildInformation())
    if found is None or found.group(1).strip() in ("", "NONE"):
        raise InputError(
            "window: the OpenCV that is installed has no windows (opencv-python-headless). Replace it with: "
            "pip uninstall opencv-python-headless, then pip install opencv-python. Or leave --window out: "
            "the viewer runs in a browser"
        )


def show_window(setting: Setting, *, unit: str = "km/h", frames: int | None = None) -> Summary:
    """Plays the setting once in a window, at its own pace."""
    window = Window(overlay_of(setting, unit), Gate(paced=not setting.source.live))
    with closing(setting.pipeline), setting.source as source:
        return run(
            setting.pipeline, window.until_closed(source), [window], zones=setting.monitor, limit=frames
        )


class Window:
    """A sink that shows each picture and heeds the keys."""

    def __init__(self, overlay: Overlay, gate: Gate) -> None:
        self._overlay, self._gate = overlay, gate
        self.closed = False
        """Whether somebody ended it."""
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)

    def until_closed(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames, each when its time has come, until the window is closed."""
        for frame in self._gate.through(frames):
            if self.closed:
                return
            yield frame

    def write(self, frame: Frame, result: Result) -> None:
        """Shows one picture; while paused, waits for a key."""
        cv2.imshow(TITLE, self._overlay.draw(frame, result, notes=(KEYS,))[:, :, ::-1])
        self._heed(cv2.waitKey(1))
        while self._gate.paused and not self.closed:
            if self._heed(cv2.waitKey(30)) == ".":
                return

    def close(self) -> None:
        """Takes the window away."""
        cv2.destroyWindow(TITLE)

    def _heed(self, code: int) -> str:
        key = chr(code & 0xFF) if code >= 0 else ""
        if key in ("q", "\x1b") or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self.closed = True
            self._gate.pause(False)
        elif key == " ":
            self._gate.pause(not self._gate.paused)
        elif key == ".":
            self._gate.step()
        return key
