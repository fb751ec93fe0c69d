"""Counts, occupancy, speeds and camera health as retained MQTT states, and Home Assistant's discovery."""

import re
import zlib
from collections import Counter
from typing import Any

from edgevid._version import __version__
from edgevid.types import KMH, Event

PROBLEMS = {"camera-moved": "moved", "image-unusable": "image", "stream-lost": "stream"}
SOLVED = {"camera-aligned": "moved", "image-usable": "image", "stream-back": "stream"}


class Entities:
    """The states of one camera by topic; source: https://www.home-assistant.io/integrations/mqtt."""

    def __init__(self, base: str, camera: str) -> None:
        """`base` is the topic in front of the camera's."""
        self._camera, self.topic = camera, f"{base}/{topic_part(camera)}"
        self._device = identifier(f"{base}_{camera}")
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
            state = self._sensor(f"{place}/occupancy", f"{event.place} occupancy", "count", more)
            state["count"] = event.count
        elif event.kind == "track-speed" and event.speed_mps is not None:
            more = {"state_class": "measurement", "device_class": "speed", "unit_of_measurement": "km/h"}
            error = round((event.speed_sigma_mps or 0.0) * KMH, 2)
            self._sensor("speed", "speed", "kmh", more).update(
                kmh=round(event.speed_mps * KMH, 2), error_kmh=error, class_name=event.class_name,
                track=event.track, utc=event.utc,
            )  # fmt: skip
        elif event.kind in PROBLEMS or event.kind in SOLVED:
            what = (PROBLEMS | SOLVED)[event.kind]
            self._health[what] = event.reason or event.kind if event.kind in PROBLEMS else ""
            self._set_health()

    def empty(self) -> dict[str, dict[str, Any]]:
        """The states of zones when nothing is observed any more."""
        return {topic: {"count": 0} for topic in self.states if topic.endswith("/occupancy")}

    def _set_health(self) -> None:
        more = {"device_class": "problem", "entity_category": "diagnostic"}
        state = self._sensor("health", "health", "problem", more, "binary_sensor")
        state.update(problem="ON" if any(self._health.values()) else "OFF", **self._health)

    def _sensor(
        self, topic: str, title: str, key: str, more: dict[str, str], component: str = "sensor"
    ) -> dict[str, Any]:
        """The state at a topic; Home Assistant shows its `key`, and the others as attributes."""
        whole, number = f"{self.topic}/{topic}", identifier(f"{self._device}_{topic}")
        self.configs[f"{component}/{number}/config"] = {
            "name": title, "unique_id": number, "state_topic": whole,
            "value_template": f"{{{{ value_json.{key} }}}}", "json_attributes_topic": whole,
            "availability_topic": f"{self.topic}/status",
            "device": {"identifiers": [self._device], "name": self._camera, "manufacturer": "edgevid",
                       "model": "camera", "sw_version": __version__},
            "origin": {"name": "edgevid", "sw_version": __version__},
        } | more  # fmt: skip
        return self.states.setdefault(whole, {})


def topic_part(name: str) -> str:
    """A name as one level of a topic."""
    return re.sub(r"[+#/\x00-\x1f\x7f-\x9f]+", "-", name)  # brokers end a connection for control characters


def identifier(name: str) -> str:
    """A name in the letters that Home Assistant's topics may have; different for different names."""
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "_", name)
    return plain if plain == name else f"{plain}_{zlib.crc32(name.encode()):08x}"
