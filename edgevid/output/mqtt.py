"""MqttSink: events to an MQTT broker with Frigate's field names, and the camera's state for Home Assistant."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from edgevid._version import __version__
from edgevid.errors import InputError, SourceError, require
from edgevid.files import sha256
from edgevid.output.records import json_line
from edgevid.output.server import WAIT_S, server_of, tls_context, unavailable
from edgevid.types import KMH, Closing, Event, Frame, Header, Result, utc_seconds

MOST_NAME = 100  # Characters of a name in a topic
MOST_OBJECTS = 1000  # Objects that are remembered; more are none of the present


class FrigateObjects:
    """What is known of each object; source: https://docs.frigate.video/integrations/mqtt, frigate/events."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Any]] = {}

    def message(self, event: Event) -> dict[str, Any]:
        """The event's own fields; of an object also "type" (new, update, end), "before" and "after"."""
        values = event.to_dict()
        if event.track is None:
            return values
        key, ended = f"{event.run}-{event.track}", event.kind == "track-ended"
        before = self._objects.pop(key, None)
        after = _after(event, before or {"id": key}, ended)
        if not ended:
            self._objects[key] = after
        for old in list(self._objects)[:-MOST_OBJECTS]:
            del self._objects[old]
        kind = "end" if ended else "update" if before else "new"
        return values | {"type": kind, "before": before or after, "after": after}


def _after(event: Event, before: dict[str, Any], ended: bool) -> dict[str, Any]:
    """The object after an event; unknown speeds are None, not 0."""
    time, place = utc_seconds(event.utc), [event.place] if event.place else []
    score = before.get("score", 0.0) if event.confidence is None else event.confidence
    current = [one for one in before.get("current_zones", []) if [one] != place or event.kind != "leave"]
    if event.kind == "enter":
        current = sorted({*current, *place})
    entered = before.get("entered_zones", [])
    stationary = event.kind == "stopped" or (before.get("stationary", False) and event.kind not in ("cross", "leave"))
    found = {
        "id": before["id"], "camera": event.camera, "frame_time": time,
        "start_time": before.get("start_time", time - (event.seconds or 0.0 if ended else 0.0)),
        "end_time": time if ended else None,
        "label": event.class_name or before.get("label", ""),
        "sub_label": before.get("sub_label"),
        "score": score, "top_score": max(score, before.get("top_score", 0.0)),
        "false_positive": False, "has_snapshot": False, "has_clip": False,
        "current_zones": current, "entered_zones": [*entered, *(p for p in current if p not in entered)],
        "stationary": stationary, "active": not stationary,
        **{key: before.get(key) for key in ("box", "area", "ratio", "velocity_angle")},
    }  # fmt: skip
    if event.kind in ("verdict", "verdict-changed"):
        found["sub_label"] = [event.label, event.label_confidence]
    if event.box is not None:
        x1, y1, x2, y2 = found["box"] = [round(v) for v in event.box]
        found |= {"area": (x2 - x1) * (y2 - y1), "ratio": round((x2 - x1) / max(y2 - y1, 1), 3)}
    for which in ("current", "average"):
        name = f"{which}_estimated_speed"
        values = before.get(name), before.get(f"{name}_error")
        if event.speed_mps is not None and (which == "average") == event.kind.startswith("track-"):
            values = round(event.speed_mps * KMH, 2), round((event.speed_sigma_mps or 0.0) * KMH, 2)
            found["velocity_angle"] = event.speed_heading_deg
        found |= {name: values[0], f"{name}_error": values[1]}
    return found


PROBLEMS = {"camera-moved": "moved", "image-unusable": "image", "stream-lost": "stream"}
SOLVED = {"camera-aligned": "moved", "image-usable": "image", "stream-back": "stream"}


class Entities:
    """The states of one camera by topic; source: https://www.home-assistant.io/integrations/mqtt."""

    def __init__(self, base: str, camera: str) -> None:
        """`base` is the topic in front of the camera's."""
        self._camera, self.topic = camera, f"{base}/{topic_part(camera)}"
        self._device = identifier(self.topic)
        self.states: dict[str, dict[str, Any]] = {}  # By topic: an object for JSON
        self.configs: dict[str, dict[str, Any]] = {}  # By discovery topic without its prefix
        self._health = dict.fromkeys(PROBLEMS.values(), "")
        self._set_health()

    def update(self, event: Event) -> None:
        """Takes one event into account; each must come once."""
        place = topic_part(event.place)
        if event.kind == "cross":
            topic, title = f"{place}/{event.direction}", f"{event.place} {event.direction}"
            counts = Counter(self._sensor(topic, title, "count", {"state_class": "total_increasing"}))
            counts.update(["count", event.class_name or "object"])
            self.states[f"{self.topic}/{topic}"] = dict(counts)
        elif event.place and event.count is not None:
            more = {"state_class": "measurement"}
            self._sensor(f"{place}/occupancy", f"{event.place} occupancy", "count", more)["count"] = event.count
        elif event.kind == "track-speed" and event.speed_mps is not None:
            more = {"state_class": "measurement", "device_class": "speed", "unit_of_measurement": "km/h"}
            error = round((event.speed_sigma_mps or 0.0) * KMH, 2)
            self._sensor("speed", "speed", "kmh", more).update(kmh=round(event.speed_mps * KMH, 2), error_kmh=error,
                                                               class_name=event.class_name, track=event.track,
                                                               utc=event.utc)  # fmt: skip
        elif what := (PROBLEMS | SOLVED).get(event.kind):
            self._health[what] = event.reason or event.kind if event.kind in PROBLEMS else ""
            self._set_health()

    def empty(self) -> dict[str, dict[str, Any]]:
        """The states of zones when nothing is observed any more."""
        return {topic: {"count": 0} for topic in self.states if topic.endswith("/occupancy")}

    def _set_health(self) -> None:
        more = {"device_class": "problem", "entity_category": "diagnostic"}
        state = self._sensor("health", "health", "problem", more, "binary_sensor")
        state.update(problem="ON" if any(self._health.values()) else "OFF", **self._health)

    def _sensor(self, topic: str, title: str, key: str, more: dict[str, str], kind: str = "sensor") -> dict[str, Any]:
        """The state at a topic; Home Assistant shows its `key`, and the others as attributes."""
        whole, number = f"{self.topic}/{topic}", identifier(f"{self._device}/{topic}")
        self.configs[f"{kind}/{number}/config"] = {
            "name": title, "unique_id": number, "state_topic": whole,
            "value_template": f"{{{{ value_json.{key} }}}}", "json_attributes_topic": whole,
            "availability_topic": f"{self.topic}/status",
            "device": {"identifiers": [self._device], "name": self._camera, "manufacturer": "edgevid",
                       "model": "camera", "sw_version": __version__},
            "origin": {"name": "edgevid", "sw_version": __version__},
        } | more  # fmt: skip
        return self.states.setdefault(whole, {})


def topic_part(name: str) -> str:
    """A name as one level of a topic, different for different names; brokers end connections for control characters."""
    return _distinct(re.sub(r"[+#/\x00-\x1f\x7f-\x9f\ud800-\udfff]+", "-", name), name, "-")


def identifier(name: str) -> str:
    """A name in the letters that Home Assistant's topics may have; different for different names."""
    return _distinct(re.sub(r"[^a-zA-Z0-9_-]+", "_", name), name, "_")


def _distinct(plain: str, name: str, mark: str) -> str:
    """The plain form of a name, with a part of its hash where it differs."""
    same = plain[:MOST_NAME] == name and name
    return name if same else f"{plain[:MOST_NAME]}{mark}{sha256(name.encode(errors='surrogatepass'))[:8]}"


KEEP_ALIVE_S = 20  # The broker says "offline" 1.5 times this after a camera's plug was pulled
CONNECTED, LOST = 0, -1


class MqttSink(Closing):
    """Events at TOPIC/events, acknowledged, and retained states below TOPIC/CAMERA: docs/events.md."""

    def __init__(self, url: str, *, ca: str | Path | None = None, discovery: str = "homeassistant") -> None:
        """`ca` is a PEM file of certificates to trust; `discovery` is Home Assistant's prefix, "" for none. InputError
        for an address or topic that cannot be used, MissingExtraError without paho-mqtt."""
        self._mqtt = require("paho.mqtt.client", extra="mqtt", purpose="MQTT")
        self._server = server_of(url, "mqtt")
        self._tls = tls_context(ca) if self._server.scheme == "mqtts" else None
        self._base, self._discovery = self._server.path or "edgevid", discovery
        if set("+#") & {*self._base, *discovery}:
            raise InputError(f"expected a topic without + and #, got {self._base!r} and {discovery!r}")
        self.name = f"mqtt {self._server}"
        self._client: Any = None
        self._answers: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._objects, self._made = FrigateObjects(), dict[str, str]()
        self._published: dict[str, str] = {}
        self.open(Header())

    def open(self, header: Header) -> None:
        """The camera's name is a level of the topics."""
        self._entities = Entities(self._base, header.camera)
        self._status, self._id = f"{self._entities.topic}/status", identifier(self._entities.topic)

    def write(self, frame: Frame, result: Result) -> None:
        """Sends nothing; with it, `send` is called each second, and the camera's status is true also then."""

    def send(self, events: Sequence[Event]) -> None:
        """Publishes events and waits for the broker's acknowledgments; SourceError where there are none."""
        if self._client is None or not self._client.is_connected():
            self._login()
            self._publish([(self._status, "online", True)])
            self._publish_states(self._entities.states)
        self._made = {one.id: self._made.get(one.id) or json_line(self._objects.message(one)) for one in events}
        self._publish([(f"{self._base}/events", text.rstrip(), False) for text in self._made.values()])
        self._made = {}
        for event in events:
            self._entities.update(event)
        with suppress(SourceError):  # the next connection publishes all states
            self._publish_states(self._entities.states)

    def check(self) -> str:
        """Whether the broker answers and takes the login; SourceError where it does not."""
        self._id += "-check"  # a run of this camera keeps its connection
        self._login()
        self._drop()
        return "the broker takes the login"

    def close(self) -> None:
        """Says that the camera is offline."""
        if self._client is not None and self._client.is_connected():
            self._publish_states(self._entities.empty())
            self._publish([(self._status, "offline", True)])
        self._drop()

    def _publish_states(self, states: dict[str, dict[str, Any]]) -> None:
        texts = {topic: json_line(state).rstrip() for topic, state in states.items()}
        if self._discovery:
            configs = self._entities.configs.items()
            texts = {f"{self._discovery}/{topic}": json_line(one).rstrip() for topic, one in configs} | texts
        changed = {topic: text for topic, text in texts.items() if self._published.get(topic) != text}
        self._publish([(topic, text, True) for topic, text in changed.items()])
        self._published |= changed

    def _login(self) -> None:
        self._drop()
        mqtt, server, answers = self._mqtt, self._server, SimpleQueue[tuple[int, Any]]()
        # The same name in each run: the broker ends the connection of a run whose machine lost its power.
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=self._id, protocol=mqtt.MQTTv5,
                             reconnect_on_failure=False)  # fmt: skip
        client.on_connect = lambda c, data, flags, code, more: answers.put((CONNECTED, code))
        client.on_publish = lambda c, data, number, code, more: answers.put((number, code))
        client.on_disconnect = lambda c, data, flags, code, more: answers.put((LOST, code))
        client.connect_timeout = WAIT_S
        client.will_set(self._status, "offline", qos=1, retain=True)
        if server.user:
            client.username_pw_set(server.user, server.password or None)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        self._client, self._answers, self._published = client, answers, {}
        try:
            client.connect(server.host, server.port, keepalive=KEEP_ALIVE_S)
        except OSError as error:
            self._drop()
            raise unavailable(error) from None
        client.loop_start()
        self._wait({CONNECTED})

    def _publish(self, messages: Iterable[tuple[str, str, bool]]) -> None:
        """Publishes (topic, text, retained) and waits until the broker has all of them."""
        sent = [self._client.publish(topic, text, qos=1, retain=kept) for topic, text, kept in messages]
        self._wait({one.mid for one in sent})

    def _wait(self, numbers: set[int]) -> None:
        """Waits for answers; without them, or where one is a rejection, the connection ends."""
        while numbers:
            try:
                number, code = self._answers.get(timeout=WAIT_S)
            except Empty:
                self._drop()
                raise unavailable("timed out") from None
            if number == LOST or (number in numbers and code.is_failure):
                self._drop()
                what = {LOST: "the broker ended the connection", CONNECTED: "the broker rejects the login"}
                reason = what.get(number, f"the broker rejects messages below {self._base}")
                other = "mqtts for TLS? another camera of this name? else " if number == LOST else ""
                raise SourceError(f"{reason}: {code}; {other}check user, password and permissions")
            numbers.discard(number)

    def _drop(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None
