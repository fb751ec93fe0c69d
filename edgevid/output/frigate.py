"""FrigateSink: what happened, as events of Frigate: with a clip, the object's box, and its speed."""

import json
import math
import time as clock
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgevid.errors import SourceError
from edgevid.files import camera_spool, file_name, write_atomic
from edgevid.output.delivery import RejectedError
from edgevid.output.server import HttpSink, server_of
from edgevid.types import KMH, Event, EventKind, Frame, Header, Result, utc_seconds

KINDS: tuple[EventKind, ...] = ("cross", "enter", "dwell", "stopped", "wrong-way",
                                "speed-limit", "occupancy-above")  # fmt: skip
"""The kinds that become events of Frigate, if no others are chosen."""
PRE_CAPTURE_S, MOST_LATE_S = 5.0, 60.0
"""Frigate's events begin this much before the request; an event that comes later than the most is too old."""
MOST_KNOWN, MOST_TEXT = 300, 100  # Events of Frigate that are remembered; characters of a sub-label


class FrigateSink(HttpSink):
    """Events of chosen kinds at Frigate's API, docs/events.md; one per object while its clip goes on. Source:
    https://docs.frigate.video/integrations/api."""

    def __init__(self, url: str, *, camera: str = "", kinds: Sequence[EventKind] = KINDS, duration_s: float = 20.0,
                 include_recording: bool = True, ca: str | Path | None = None) -> None:  # fmt: skip
        """`camera` is its name in Frigate, where it differs; `duration_s` 0: until the object is gone. InputError for
        an address that cannot be used, MissingExtraError without httpx."""
        server = server_of(url, "frigate")
        super().__init__(ca, "Frigate")
        self.name = f"frigate {server}"
        self._api = f"{server.scheme}://{server}/api"
        self._login = {"user": server.user, "password": server.password} if server.user else {}
        self._kinds, self._duration_s, self._recording = kinds, duration_s, include_recording
        self._given, self._camera, self._size = camera, camera, (0, 0)
        self._known: dict[str, dict[str, Any]] = {}  # Requests to Frigate by object: in a file, to survive a kill
        self.open(Header())

    def open(self, header: Header) -> None:
        """The camera's name, and what earlier runs requested of Frigate."""
        self._camera = self._given or header.camera
        self._path = camera_spool(header.camera) / f"{file_name(self.name)}.json"
        with suppress(OSError, ValueError):
            self._known = dict(json.loads(self._path.read_text()))

    def write(self, frame: Frame, result: Result) -> None:
        """Notes the size of frames, which boxes are shares of."""
        self._size = result.size

    def check(self) -> str:
        """Whether Frigate answers, takes the login, and has the camera."""
        if self._camera not in (cameras := self._request("GET", "config").json().get("cameras", {})):
            names = ", ".join(sorted(cameras)) or "none"
            raise SourceError(f'Frigate has no camera {self._camera!r}: write camera = "...", one of {names}')
        return f"Frigate has the camera {self._camera}"

    def _send(self, event: Event) -> None:
        """Creates, names or ends an event of Frigate; RejectedError for one that is too old: Frigate's begin at the
        present."""
        key = event.id if event.track is None else f"{event.run}-{event.track}"
        known, now = self._known.get(key, {}), utc_seconds(event.utc)
        if event.kind in self._kinds and (not known.get("id") or now >= known["until"]):
            self._create(key, event, known if "id" not in known else {})
        elif known.get("id"):
            if event.speed_mps is not None and (text := sub_label(event)) != known["text"]:
                path, body = f"events/{known['id']}/sub_label", {"subLabel": text}
                if self._request("POST", path, (404,), json=body).status_code != 404:  # deleted, or too new
                    self._known[key] = known = known | {"text": text}
            if event.kind == "track-ended" and known["until"] == math.inf:
                self._request("PUT", f"events/{known['id']}/end", (404,), json={"end_time": now})
                self._note(key, known | {"until": now})

    def _create(self, key: str, event: Event, asked: dict[str, Any]) -> None:
        """Asks for an event; where no answer came the last time, Frigate may have it already."""
        late, label = clock.time() - utc_seconds(event.utc), event.class_name or event.kind
        if late > MOST_LATE_S:
            raise RejectedError(f"it happened {late:.0f} s ago, and Frigate's events begin at the present")
        if not (found := self._find(label, asked) if asked else ""):
            seconds = self._duration_s
            asked = {"text": sub_label(event), "at": clock.time(),
                     "until": utc_seconds(event.utc) + seconds if seconds else math.inf}  # fmt: skip
            self._note(key, asked)
            body = {"source_type": "api", "sub_label": asked["text"], "score": event.confidence or 0.0,
                    "duration": math.ceil(seconds) or None, "include_recording": self._recording,
                    "draw": self._boxes(event)}  # fmt: skip
            if late > PRE_CAPTURE_S:
                body["pre_capture"] = math.ceil(late + PRE_CAPTURE_S)
            path = f"events/{quote(self._camera, safe='')}/{quote(label, safe='')}/create"
            if (answer := self._request("POST", path, (404,), json=body)).status_code == 404:
                self.check()  # names the cameras that there are
            found = str(answer.json()["event_id"])
        self._note(key, asked | {"id": found})

    def _find(self, label: str, asked: dict[str, Any]) -> str:
        begin = asked["at"] - MOST_LATE_S - 2 * PRE_CAPTURE_S
        query = {"cameras": self._camera, "labels": label, "after": begin, "limit": 100,
                 "include_thumbnails": 0}  # fmt: skip
        known = {one.get("id") for one in self._known.values()}
        events = self._request("GET", "events", params=query).json()
        same = (one["id"] for one in events if one.get("sub_label") == asked["text"])
        return str(next((number for number in same if number not in known), ""))

    def _boxes(self, event: Event) -> dict[str, Any]:
        """What Frigate draws on the snapshot: the box as shares of the image."""
        if event.box is None or not all(self._size):
            return {}
        (x1, y1, x2, y2), (width, height) = event.box, self._size
        box = [round(v, 4) for v in (x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)]
        return {"boxes": [{"box": box, "score": round(100 * (event.confidence or 0.0))}]}

    def _note(self, key: str, values: dict[str, Any]) -> None:
        self._known[key] = values
        for old in list(self._known)[:-MOST_KNOWN]:
            del self._known[old]
        write_atomic(self._path, json.dumps(self._known))

    def _request(self, method: str, path: str, accepted: tuple[int, ...] = (), **options: Any) -> Any:
        """An answer of the API; logs in where Frigate demands that."""
        url, login = f"{self._api}/{path}", (401,) if self._login else ()
        if (answer := self.request(method, url, accepted=accepted + login, **options)).status_code == 401:
            self.request("POST", f"{self._api}/login", json=self._login)
            answer = self.request(method, url, accepted=accepted, **options)
        return answer


def sub_label(event: Event) -> str:
    """What an object is called: its class, and its speed with the standard error where that is known.

    >>> values = ("a-1", "cross", "2026-01-31T12:00:00Z", 1.0, "gate", "a")
    >>> sub_label(Event(*values, track=7, class_name="car", speed_mps=24.2, speed_sigma_mps=0.6))
    'car 87 ± 2 km/h'
    """
    if event.track is None:
        return (event.reason or f"{event.place} {event.count or ''}".strip())[:MOST_TEXT]
    speed = "" if event.speed_mps is None else f" {KMH * event.speed_mps:.0f}"
    if speed and event.speed_sigma_mps is not None:
        speed += f" ± {max(1, KMH * event.speed_sigma_mps):.0f}"
    return f"{event.class_name}{speed}{' km/h' if speed else ''}"[:MOST_TEXT]
