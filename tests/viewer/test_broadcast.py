"""Between the frame loop and the clients: no one waits, nothing is encoded twice or without need."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from edgevid.types import Detections, Frame, Result, SpeedReport, Tracks
from edgevid.viewer.broadcast import MAX_IN_FLIGHT, Broadcast, Client, unpack


@pytest.fixture(autouse=True)
def _without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.viewer.broadcast.GAP_S", 0.001)


def moment(index: int = 0, size: tuple[int, int] = (64, 48)) -> tuple[Frame, Result]:
    frame = Frame(np.full((size[1], size[0], 3), 90, np.uint8), index / 25, index)
    empty = (Detections.empty(), Tracks.empty(), SpeedReport())
    return frame, Result(index, frame.time, size, *empty, {}, {}, {"class": ()}, {"detect": 0.001})


def broadcast() -> Broadcast:
    return Broadcast(lambda m: {"frame": m.result.frame_index})


async def images(client: Client, count: int, *, answer: bool = True) -> list[dict]:
    found: list[dict] = []
    while len(found) < count:
        message = await asyncio.wait_for(client.next(), 5)
        if isinstance(message, bytes):
            record, jpeg = unpack(message)
            assert jpeg[:2] == b"\xff\xd8"
            found.append(record)
            if answer:
                client.acknowledge(record["n"])
    return found


async def until(condition) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 5 s")


def test_nothing_is_encoded_while_no_client_is_connected() -> None:
    made = broadcast()
    for n in range(50):
        made.publish(*moment(n))
    time.sleep(0.05)
    assert made.published == 50
    assert made.encoded == 0
    assert not made.watched
    made.close()


def test_a_frame_is_encoded_once_for_all_clients() -> None:
    async def run() -> None:
        made = broadcast()
        clients = [made.join() for _ in range(3)]
        for n in range(5):
            made.publish(*moment(n))
            for client in clients:
                assert (await images(client, 1))[0]["frame"] == n
        assert made.encoded == 5
        made.close()

    asyncio.run(run())


def test_a_late_client_gets_the_last_image_of_a_paused_loop() -> None:
    async def run() -> None:
        made = broadcast()
        made.publish(*moment(7))
        first, second = made.join(), made.join()
        assert (await images(first, 1))[0]["frame"] == 7
        assert (await images(second, 1))[0]["frame"] == 7
        made.close()

    asyncio.run(run())


def test_a_slow_client_loses_images_and_delays_no_one() -> None:
    """It never answers: only MAX_IN_FLIGHT images are on their way; the other one sees all it can take."""

    async def run() -> None:
        made = broadcast()
        slow, quick = made.join(), made.join()
        for n in range(30):
            made.publish(*moment(n))
            assert (await images(quick, 1))[0]["frame"] == n
            if n < MAX_IN_FLIGHT:
                await images(slow, 1, answer=False)
        assert quick.sent == 30
        assert quick.dropped == 0
        assert slow.sent == MAX_IN_FLIGHT
        assert not slow.has_room
        slow.acknowledge(MAX_IN_FLIGHT)
        record = (await images(slow, 1))[0]
        assert record["n"] > MAX_IN_FLIGHT + 1
        assert slow.dropped == record["n"] - MAX_IN_FLIGHT - 1
        made.publish(*moment(99))
        assert (await images(slow, 1))[0]["frame"] == 99
        made.close()

    asyncio.run(run())


def test_publishing_does_not_wait_for_encoding() -> None:
    """The encoder stands still here; the loop goes on, and the newest moment is the one that waits."""

    async def run() -> None:
        gate, entered = threading.Event(), threading.Event()

        def describe(given):
            entered.set()
            assert gate.wait(10)
            return {"frame": given.result.frame_index}

        made = Broadcast(describe)
        client = made.join()
        made.publish(*moment(0))
        await until(entered.is_set)
        for n in range(1, 1000):
            made.publish(*moment(n))
        assert made.published == 1000
        gate.set()
        assert [r["frame"] for r in await images(client, 2)] == [0, 999]
        made.close()

    asyncio.run(run())


def test_a_hidden_tab_costs_nothing_and_loses_nothing_that_counts() -> None:
    async def run() -> None:
        made = broadcast()
        client = made.join()
        client.set_visible(False)
        for n in range(20):
            made.publish(*moment(n))
        await asyncio.sleep(0.03)
        assert made.encoded == 0
        client.set_visible(True)
        assert (await images(client, 1))[0]["frame"] == 19
        assert client.dropped == 0
        made.close()

    asyncio.run(run())


def test_messages_are_never_dropped_for_images() -> None:
    async def run() -> None:
        made = broadcast()
        client = made.join()
        for n in range(20):
            made.publish(*moment(n))
            made.send(type="event", n=n)
        found = []
        while len(found) < 20:
            message = await asyncio.wait_for(client.next(), 5)
            if isinstance(message, str):
                found.append(message)
        assert [f'"n": {n}' in words for n, words in enumerate(found)] == [True] * 20
        made.close()

    asyncio.run(run())


def test_the_time_to_a_client_is_measured_by_its_acknowledgement() -> None:
    async def run() -> None:
        made = broadcast()
        client = made.join()
        made.publish(*moment(0))
        record = (await images(client, 1, answer=False))[0]
        assert client.latency_s is None
        client.acknowledge(record["n"])
        assert client.latency_s is not None
        assert client.latency_s > 0
        made.close()

    asyncio.run(run())


def test_one_image_that_fails_does_not_end_the_encoding(caplog: pytest.LogCaptureFixture) -> None:
    def describe(m) -> dict:
        if m.result.frame_index < 2:
            raise ValueError("no such record")
        return {"frame": m.result.frame_index}

    async def look() -> None:
        made = Broadcast(describe)
        client = made.join()
        for index in range(2):
            made.publish(*moment(index))
            await until(lambda index=index: made.failed == index + 1)
        made.publish(*moment(2))
        assert [one["frame"] for one in await images(client, 1)] == [2]
        made.close()

    asyncio.run(look())
    assert [one.getMessage() for one in caplog.records] == ["frame 0 cannot be shown"]  # once
