"""Is a camera fit to be watched: its name, network, login, codec, size, rate, delay and clock."""

from __future__ import annotations

import ctypes
import socket
import time as clock
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from edgevid.errors import masked
from edgevid.site.findings import Finding
from edgevid.types import Frame
from edgevid.video.live import LiveSource

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}
REMEDIES = {
    "401": "check the user and the password: rtsp://USER:PASSWORD@HOST/PATH; odd characters as %XX",
    "unauthorized": "check the user and the password: rtsp://USER:PASSWORD@HOST/PATH; odd characters as %XX",
    "403": "this user may not see the stream: give it the right in the camera's settings",
    "404": "check the path after the host; the camera's manual or its ONVIF page names it",
    "not found": "check the path after the host; the camera's manual or its ONVIF page names it",
    "refused": "nothing listens there: is RTSP switched on, is the port right?",
    "certificate": "the camera's certificate is not trusted: add its issuer to this machine's certificates",
    "no such file": "there is no such device: `ls /dev/video*`, and is this user in the group `video`?",
    "no frame for": "the camera answers but sends no image: is another program using up its connections?",
}
"""What to do, by what an error says."""
FINAL = ("401", "403", "404", "No such file")
"""Answers that waiting does not change."""


def check_camera(
    uri: str, *, watch_s: float = 5.0, patience_s: float = 10.0
) -> tuple[list[Finding], Frame | None]:
    """What was found, and the last image (None where none came).

    It is watched for `watch_s` seconds from its first image, for which `patience_s` are waited.
    """
    if Path(uri).exists() and not uri.startswith("/dev/"):
        remedy = "name a camera: rtsp://..., http://..., a number; `edgevid run FILE` needs no check"
        return [Finding("camera", f"{uri} is a file or folder, no camera", False, remedy)], None
    found = _network(uri)
    if found and found[-1].good is False:
        return found, None
    begun = clock.monotonic()
    frames: list[Frame] = []
    at: list[float] = []
    with LiveSource(uri, min_backoff_s=0.2, max_backoff_s=1.0) as source:
        while not (came := source.wait(0.2)) and clock.monotonic() - begun < patience_s:
            if any(word in event.detail for event in source.events for word in FINAL):
                break
        first_s = clock.monotonic() - begun
        if not came:
            return [*found, _no_picture(source)], None
        for frame in source:
            frames, at = [*frames[-1:], frame], [*at, clock.monotonic()]
            if len(at) == 1:
                first = frame
            if at[-1] - at[0] > watch_s:
                break
        found.append(Finding("image", _picture(source, frames[-1]), True))
        found.append(_first_picture(first_s))
        found.append(_rate(source, at, frames[-1].index - first.index))
        found.append(_stamps(frames[-1].time - first.time, at[-1] - at[0]))
        if source.corrupted:
            remedy = "packets are lost on the way: cable instead of radio, a lower bit rate"
            found.append(Finding("damage", f"{source.corrupted} damaged images or packets", False, remedy))
    return [*found, machine_clock()], frames[-1]


def _network(uri: str) -> list[Finding]:
    """Whether the host's name is known and its port answers; nothing for cameras on this machine."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme.lower())
    except ValueError as error:
        return [Finding("address", f"{masked(uri)}: {error}", False, "rtsp://USER:PASSWORD@HOST:PORT/PATH")]
    if not parts.scheme or not host or port is None:
        return []
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host's name"
        remedy = "check the name; `ping` it, or write the camera's number (192.168.1.20)"
        return [Finding("name", f"{host}: {reason}", False, remedy)]
    number = str(known[0][4][0])
    found = [Finding("name", host if host == number else f"{host} is {number}", True)]
    begun = clock.monotonic()
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except OSError as error:
        reason = (error.strerror or "no answer within 5 s").lower()
        remedy = "is the camera on, in this network, and RTSP switched on? `ping` it; check port and firewall"
        return [*found, Finding("network", f"port {port}: {reason}", False, remedy)]
    return [
        *found,
        Finding("network", f"port {port} answers in {1000 * (clock.monotonic() - begun):.0f} ms", True),
    ]


def _no_picture(source: LiveSource) -> Finding:
    detail = source.events[-1].detail if source.events else "nothing was heard"
    remedy = next(
        (words for key, words in REMEDIES.items() if key in detail.lower()), "look at it with another player"
    )
    return Finding("image", f"none came: {masked(detail)}", False, remedy)


def _picture(source: LiveSource, frame: Frame) -> str:
    kind = "" if frame.planes is not None else ", converted to RGB (not YUV 4:2:0)"
    return f"{frame.width}x{frame.height}, {source.codec or 'unknown codec'}{kind}"


def _first_picture(seconds: float) -> Finding:
    slow = "a key image comes seldom: set the camera's key-frame (I-frame) interval to 1 or 2 seconds"
    return Finding(
        "first image", f"after {seconds:.1f} s", True if seconds < 5 else None, slow if seconds >= 5 else ""
    )


def _rate(source: LiveSource, at: Sequence[float], decoded: int) -> Finding:
    gaps = np.diff(at)
    if not len(gaps):
        return Finding("rate", "one image only", False, "raise the camera's frame rate")
    rate, worst = decoded / (at[-1] - at[0]), float(gaps.max())
    announced = f", announced {source.fps:g}" if source.fps else ""
    words = f"{rate:.1f} images/s{announced}; longest gap {1000 * worst:.0f} ms"
    uneven = worst > max(1.0, 5 / rate)
    remedy = "images come unevenly: look at the network, at other readers, at the camera's load"
    return Finding("rate", words, not uneven, remedy if uneven else "")


def _stamps(stream_s: float, machine_s: float) -> Finding:
    if machine_s < 2:
        return Finding("camera's clock", "watched too shortly to be judged", None)
    off = 100 * (stream_s / machine_s - 1)
    # Images come with the network's jitter: half a second more or less says nothing.
    good = abs(stream_s - machine_s) < max(0.05 * machine_s, 0.5)
    words = "runs with this machine's" if good else f"runs {abs(off):.0f} % {'fast' if off > 0 else 'slow'}"
    return Finding(
        "camera's clock",
        words,
        good,
        "" if good else "speeds would be wrong: update its firmware, or lighten this machine",
    )


def machine_clock() -> Finding:
    """Whether this machine's clock is kept right by a time server (adjtimex(2))."""
    try:
        buffer = ctypes.create_string_buffer(512)
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return Finding("this machine's clock", "cannot be asked here", None)
    if state < 0 or state == 5:  # TIME_ERROR: not synchronized
        return Finding("this machine's clock", "is kept by no time server", None, "apt install chrony")
    return Finding("this machine's clock", "is kept by a time server", True)
