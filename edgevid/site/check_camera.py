"""Whether a camera is ready to run: host name, network, login, codec, size, frame rate and clock; findings."""

import ctypes
import socket
import threading
import time as clock
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np

from edgevid.errors import EdgevidError, FileFormatError, SourceError, masked
from edgevid.types import Frame
from edgevid.video.connect import network_address, remedy_for
from edgevid.video.live import LiveSource
from edgevid.video.open import is_live

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}
FINAL = ("401", "403", "404", "no such device", "web page")  # Answers that waiting does not change
T = TypeVar("T")


class Finding(NamedTuple):
    """One line of a report."""

    subject: str
    state: str
    ok: bool | None  # None: neither good nor bad, something to know or to decide
    remedy: str = ""


def attempt(found: list[Finding], subject: str, call: Callable[[], T], remedy: str,
            good: Callable[[T], str] | None = None) -> T | None:  # fmt: skip
    """The value of `call`, with the finding that `good` words; None where it raised, with the reason. Each
    mistake of a file is a finding, the first with the remedy."""
    try:
        value = call()
    except FileFormatError as error:
        for number, one in enumerate(error.mistakes):
            state = f"{Path(one.path).name}: {one.sentence}"
            found.append(Finding(subject, masked(state), False, "" if number else remedy))
        return None
    except EdgevidError as error:
        found.append(Finding(subject, str(error), False, remedy))
        return None
    if good is not None:
        found.append(Finding(subject, good(value), True))
    return value


class CameraCheck(NamedTuple):
    """The findings about a source, and what was measured."""

    findings: list[Finding]
    frame: Frame | None = None  # The last frame, None where none came
    fps: float | None = None  # The measured frame rate of a camera


def check_camera(uri: str, *, watch_s: float = 5.0, timeout_s: float = 10.0) -> CameraCheck:
    """The findings about a camera, read for `watch_s` seconds after its first frame. `timeout_s` limits the
    wait for the first frame."""
    if not is_live(uri):
        remedy = "give a camera: rtsp://..., http://..., a number; `edgevid run FILE` needs no check"
        state = f"{uri} is a file or folder, no camera" if Path(uri).exists() else f"{uri}: there is no such file"
        return CameraCheck([Finding("camera", state, False, remedy)])
    found = _check_network(uri)
    if found and found[-1].ok is False:
        return CameraCheck(found)
    begun = clock.monotonic()
    came, at = False, list[float]()
    with LiveSource(uri, min_backoff_s=0.2, max_backoff_s=1.0) as source:
        with suppress(SourceError):  # it gave up
            while not (came := source.wait(0.2)) and clock.monotonic() - begun < timeout_s:
                if any(word in event.detail for event in source.events for word in FINAL):
                    break
        first_s = clock.monotonic() - begun
        if not came:
            return CameraCheck([*found, _no_frame(source)])
        stop = threading.Timer(watch_s + source.stall_s, source.close)  # an image that stays the same
        stop.start()
        for frame in source:
            at.append(clock.monotonic())
            if len(at) == 1:
                first = frame
            if at[-1] - at[0] > watch_s:
                break
        stop.cancel()
        decoded = frame.index - first.index
        kind = "" if frame.planes is not None else ", converted to RGB (not YUV 4:2:0)"
        found.append(Finding("frame", f"{frame.width}x{frame.height}, {source.codec or 'unknown codec'}{kind}", True))
        if not source.live:
            found.append(Finding("recording", "no camera: it is played once, every frame, to its end", True))
            return CameraCheck(found, frame)
        found.append(_check_first_frame(first_s))
        found.append(_check_frame_rate(source, at, decoded))
        found.append(_check_timestamps(frame.time - first.time, at[-1] - at[0]))
        remedy = "arrivals have the network's jitter: RTSP has time stamps, where the camera offers it"
        found += [Finding("time stamps", event.detail, None, remedy)
                  for event in source.events if event.kind == "retimed"]  # fmt: skip
        if source.corrupted:
            remedy = "packets are lost on the network: use a cable, or a lower bit rate"
            found.append(Finding("damage", f"{source.corrupted} damaged frames or packets", False, remedy))
    fps = decoded / (at[-1] - at[0]) if decoded else None
    return CameraCheck([*found, check_machine_clock()], frame, fps)


def _check_network(uri: str) -> list[Finding]:
    """Whether the host name resolves and its port answers; nothing for cameras on this machine."""
    try:
        parts = urlsplit(network_address(uri))
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme.lower())
    except ValueError as error:
        return [Finding("address", f"{masked(uri)}: {error}", False, "rtsp://USER:PASSWORD@HOST:PORT/PATH")]
    if parts.scheme.lower() not in PORTS or not host or port is None:
        return []
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        remedy = "check the name; `ping` it, or use the camera's IP address (192.168.1.20)"
        return [Finding("host", f"{host}: {reason}", False, remedy)]
    number = str(known[0][4][0])
    found = [Finding("host", host if host == number else f"{host} is {number}", True)]
    begun = clock.monotonic()
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except OSError as error:
        reason = (error.strerror or "no answer within 5 s").lower()
        remedy = "is the camera on, in this network, and RTSP enabled? `ping` it; check port and firewall"
        return [*found, Finding("network", f"port {port}: {reason}", False, remedy)]
    return [*found, Finding("network", f"port {port} answers in {1000 * (clock.monotonic() - begun):.0f} ms", True)]


def _no_frame(source: LiveSource) -> Finding:
    detail = source.events[-1].detail if source.events else "no answer"
    return Finding("frame", f"none came: {masked(detail)}", False, remedy_for(detail) or "try it with another player")


def _check_first_frame(seconds: float) -> Finding:
    remedy = "key frames are rare: set the camera's key-frame (I-frame) interval to 1 or 2 seconds"
    state = f"after {seconds:.1f} s"
    return Finding("first frame", state, True) if seconds < 5 else Finding("first frame", state, None, remedy)


def _check_frame_rate(source: LiveSource, at: Sequence[float], decoded: int) -> Finding:
    if source.codec == "images":
        return Finding("frame rate", f"images, requested again and again: {len(at)} of them differed", True)
    gaps = np.diff(at)
    if not len(gaps):
        return Finding("frame rate", "one frame only", False, "raise the camera's frame rate")
    rate, worst = decoded / (at[-1] - at[0]), float(gaps.max())
    announced = f", announced {source.fps:g}" if source.fps else ""
    state = f"{rate:.1f} fps{announced}; longest gap {1000 * worst:.0f} ms"
    uneven = worst > max(1.0, 5 / rate)
    remedy = "frames come unevenly: check the network, other clients, and the camera's load"
    return Finding("frame rate", state, not uneven, remedy if uneven else "")


def _check_timestamps(stream_s: float, machine_s: float) -> Finding:
    if machine_s < 2:
        return Finding("camera clock", "too few seconds to compare", None)
    off = 100 * (stream_s / machine_s - 1)
    # Frames come with the network's jitter: half a second more or less means nothing.
    if abs(stream_s - machine_s) < max(0.05 * machine_s, 0.5):
        return Finding("camera clock", "agrees with this machine's", True)
    remedy = "from about 8 s on frames are timed by their arrival; for exact times update its firmware"
    return Finding("camera clock", f"runs {abs(off):.0f} % {'fast' if off > 0 else 'slow'}", None, remedy)


def check_machine_clock() -> Finding:
    """Whether a time server keeps this machine's clock (adjtimex(2))."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return Finding("machine clock", "unknown on this system", None)
    if state < 0 or state == 5:  # TIME_ERROR: not synchronized
        return Finding("machine clock", "not synchronized", None, "apt install chrony")
    return Finding("machine clock", "synchronized", True)
