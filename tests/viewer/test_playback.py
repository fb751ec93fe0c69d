"""Pause, step and pacing of a file."""

from __future__ import annotations

import threading
import time

import numpy as np

from edgevid.types import Frame
from edgevid.viewer.playback import Playback


def frames(count: int) -> list[Frame]:
    return [Frame(np.zeros((2, 2, 3), np.uint8), n / 10, n) for n in range(count)]


def test_a_paused_file_stands_still_and_steps_frame_by_frame() -> None:
    playback, played = Playback(), []
    playback.pause(True)
    worker = threading.Thread(target=lambda: played.extend(f.index for f in playback.play(frames(5))))
    worker.start()
    time.sleep(0.05)
    assert played == []
    playback.step()
    playback.step()
    time.sleep(0.1)
    assert worker.is_alive()
    playback.pause(False)
    worker.join(5)
    assert played == [0, 1, 2, 3, 4]


def test_a_closed_playback_hands_on_no_frame() -> None:
    playback = Playback()
    playback.pause(True)
    playback.close()
    assert list(playback.play(frames(3))) == []


def test_a_file_plays_at_its_own_pace() -> None:
    begun = time.monotonic()
    assert len(list(Playback(paced=True).play(frames(4)))) == 4
    assert time.monotonic() - begun >= 0.29  # frames at 0, 0.1, 0.2 and 0.3 s
