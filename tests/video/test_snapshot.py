"""The address of an image: polled, unchanged images are no frames, times are those of arrival."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from numbered_clips import clip, number_in
from web_server import send, serving

from edgevid.errors import SourceError
from edgevid.video.connect import FASTEST_S, SLOWEST_S, Snapshots
from edgevid.video.http import HttpClient
from edgevid.video.live import LiveSource


def jpeg(number: int) -> bytes:
    return clip(1, format="image2pipe", codec="mjpeg", first=number)


def opened(address: str, every_s: float | None = None) -> Snapshots:
    return Snapshots(HttpClient(address, timeout_s=2), every_s=every_s)


@pytest.mark.parametrize("etag", [True, False])
def test_images_that_have_not_changed_are_no_frames(etag: bool) -> None:
    bodies, shown, sent = [jpeg(n) for n in (1, 1, 2, 2, 2, 3)], iter(range(6)), list[int]()

    def answer(handler: Any) -> None:
        body = bodies[next(shown)]
        tag = f'"{hash(body)}"'
        if etag and handler.headers.get("If-None-Match") == tag:
            sent.append(304)
            handler.send_response(304)
            handler.end_headers()
            return
        sent.append(200)
        send(handler, body, "image/jpeg", **({"ETag": tag} if etag else {}))

    with serving(answer) as address:
        images = opened(f"{address}/snap.jpg")
        found = [images.next() for _ in range(6)]
    assert [None if image is None else number_in(image) for image in found] == [1, None, 2, None, None, 3]
    assert sent.count(304) == (3 if etag else 0)


def test_images_are_requested_as_often_as_they_change_or_as_stated() -> None:
    bodies = [jpeg(n) for n in [*range(9), *[9] * 9]]
    for every_s in (None, 0.7):
        shown = iter(bodies)
        with serving(lambda handler: send(handler, next(shown), "image/jpeg")) as address:  # noqa: B023
            images, pauses = opened(address, every_s), list[float]()
            for _ in bodies:
                images.next()
                pauses.append(images.pause_s)
        if every_s is None:
            assert (pauses[8], pauses[-1]) == (FASTEST_S, SLOWEST_S)
        else:
            assert set(pauses) == {0.7}


def test_what_is_no_image_is_an_error() -> None:
    with (
        serving(lambda handler: send(handler, b"no image", "image/jpeg")) as address,
        pytest.raises(SourceError, match="expected an image, its 8 bytes do not decode"),
    ):
        opened(address).next()


def test_an_address_of_an_image_is_a_live_source() -> None:
    shown = iter([jpeg(n) for n in (1, 1, 1, 2, 3)])  # the first request finds out what it is

    def answer(handler: Any) -> None:
        body = next(shown, None)
        send(handler, body, "image/jpeg") if body else handler.send_error(404)

    with serving(answer) as address, LiveSource(f"{address}/snap.jpg", snapshot_s=0.02) as source:
        frames = [frame for _, frame in zip(range(3), source, strict=False)]
        assert source.live
    assert number_in(frames[0].image) == 1
    assert all(a.time < b.time for a, b in pairwise(frames))
    assert source.decoded == 3
    assert source.events[0].kind == "connected"
