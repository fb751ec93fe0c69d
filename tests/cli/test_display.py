"""`--show`: a window where there is one, else the command that shows the same in a browser."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgevid.cli.run_outputs import Window
from edgevid.errors import InputError
from edgevid.pipeline import Pipeline
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.track import Tracker


class Gui(SimpleNamespace):
    """OpenCV with windows."""

    error = RuntimeError
    WINDOW_NORMAL = 0

    def __init__(self, key: int) -> None:
        super().__init__(shown=[], key=key, open=True)

    def namedWindow(self, *_: object) -> None:
        if self.key < 0:
            raise self.error("The function is not implemented")

    def imshow(self, title: str, image: np.ndarray) -> None:
        self.shown.append(image)

    def waitKey(self, _: int) -> int:
        return int(self.key)

    def destroyAllWindows(self) -> None:
        self.open = False


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DISPLAY", ":0")
    return monkeypatch


def use(gui: Gui, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("edgevid.cli.run_outputs.require", lambda *_, **__: gui)


def test_frames_are_shown_in_bgr_until_q_is_pressed(display: pytest.MonkeyPatch) -> None:
    source = RenderedStreet(seconds=1)
    pipeline, gui = Pipeline(RenderedDetector(source), Tracker()), Gui(key=255)
    use(gui, display)
    window = Window()
    frame, result = next(iter(pipeline.run(source)))
    window.write(frame, result)
    assert gui.shown[0].shape == frame.image.shape
    corner = (slice(0, 4), slice(0, 4))
    assert np.array_equal(gui.shown[0][corner][..., ::-1], frame.image[corner])
    gui.key = ord("q")
    with pytest.raises(KeyboardInterrupt):
        window.write(frame, result)
    window.close()
    assert not gui.open


def test_without_a_window_the_browser_is_named(display: pytest.MonkeyPatch) -> None:
    use(Gui(key=-1), display)
    with pytest.raises(InputError, match=r"headless build.*edgevid-demo"):
        Window()
    display.delenv("DISPLAY")
    display.delenv("WAYLAND_DISPLAY", raising=False)
    display.setattr("sys.platform", "linux")
    with pytest.raises(InputError, match=r"no display.*edgevid-demo"):
        Window()
