"""States of a camera, and discovery payloads with the keys and words of Home Assistant's documentation."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from event_samples import an_event

from edgevid.files import sha256
from edgevid.output.mqtt import Entities, identifier, topic_part
from edgevid.types import Event

COMMON = {
    "name", "unique_id", "state_topic", "value_template", "json_attributes_topic", "availability_topic",
    "device", "origin", "device_class", "entity_category",
}  # fmt: skip
KEYS = {"sensor": COMMON | {"state_class", "unit_of_measurement"}, "binary_sensor": COMMON}
"""www.home-assistant.io/integrations/sensor.mqtt, binary_sensor.mqtt."""
WORDS = {
    "device_class": {"speed", "problem"},
    "state_class": {"measurement", "total", "total_increasing"},
    "entity_category": {"diagnostic", "config"},
    "unit_of_measurement": {"km/h", "m/s"},  # of device class speed
}


def test_no_name_makes_a_topic_that_a_broker_refuses() -> None:
    assert topic_part("a/b+c#d") == "a-b-c-d-" + sha256("a/b+c#d")[:8]
    assert topic_part("gate\t1\n\x1b[31m\0\x9f").startswith("gate-1-[31m--")
    assert len(topic_part("x" * 70_000)) < 200
    assert topic_part("Hof Süd 日本") == "Hof Süd 日本"


def of(kind: Any, number: int, **values: Any) -> Event:
    return replace(an_event(number, **values), kind=kind)


def street() -> Entities:
    found = Entities("street", "gate")
    for number, (direction, name) in enumerate([("forward", "car"), ("forward", "bus"), ("backward", "car")]):
        found.update(of("cross", number, place="line 1", direction=direction, class_name=name))
    for number, inside in enumerate((1, 2, 1), 3):
        found.update(of("enter", number, place="Hof Süd", count=inside))
    found.update(of("track-speed", 6, speed_mps=10.0, speed_sigma_mps=0.5, class_name="car", track=3))
    found.update(of("track-speed", 7, speed_reason="NO_CALIBRATION", track=4))
    found.update(of("dwell", 8, place="Hof Süd"))
    return found


def test_counts_occupancy_speed_and_health() -> None:
    states = street().states
    assert states["street/gate/line 1/forward"] == {"count": 2, "car": 1, "bus": 1}
    assert states["street/gate/line 1/backward"] == {"count": 1, "car": 1}
    assert states["street/gate/Hof Süd/occupancy"] == {"count": 1}
    speed = states["street/gate/speed"]
    assert (speed["kmh"], speed["error_kmh"], speed["track"]) == (36.0, 1.8, 3)
    assert states["street/gate/health"] == {"problem": "OFF", "moved": "", "image": "", "stream": ""}
    assert len(states) == 5
    assert street().empty() == {"street/gate/Hof Süd/occupancy": {"count": 0}}


def test_health_is_a_problem_until_all_is_well() -> None:
    found, health = Entities("street", "gate"), []
    for kind in ("camera-moved", "stream-lost", "camera-aligned", "stream-back"):
        found.update(of(kind, 0, reason=f"{kind}!"))
        health.append(dict(found.states["street/gate/health"]))
    assert [one["problem"] for one in health] == ["ON", "ON", "ON", "OFF"]
    assert (health[1]["moved"], health[1]["stream"]) == ("camera-moved!", "stream-lost!")
    assert health[2]["moved"] == ""


def test_discovery_payloads_are_those_of_the_documentation() -> None:
    found = street()
    assert len({one["unique_id"] for one in found.configs.values()}) == len(found.configs) == 5
    assert {one["state_topic"] for one in found.configs.values()} == set(found.states)
    for topic, config in found.configs.items():
        component = re.fullmatch(r"(sensor|binary_sensor)/([a-zA-Z0-9_-]+)/config", topic)
        assert component, topic
        assert set(config) <= KEYS[component[1]]
        assert config["unique_id"] == component[2]
        assert config["device"]["identifiers"] == ["street_gate_" + sha256("street/gate")[:8]]
        assert config["origin"]["name"] == "edgevid"
        for key, words in WORDS.items():
            assert config.get(key, next(iter(words))) in words
        shown = re.fullmatch(r"\{\{ value_json\.(\w+) \}\}", config["value_template"])
        assert shown
        assert shown[1] in found.states[config["state_topic"]]


def test_names_that_differ_have_identifiers_that_differ() -> None:
    assert identifier("gate_1") == "gate_1"
    names = ["gate 1", "gate/1", "gate_1", "Tor", "門", "东"]
    assert len({identifier(name) for name in names}) == len(names)


def test_cameras_and_places_that_differ_have_topics_and_identifiers_that_differ() -> None:
    pairs = [
        ("a", "b_p"),
        ("a_b", "p"),
        ("a/b", "p"),
        ("a-b", "p"),
        ("a+b", "p"),
        ("a#b", "p"),
        ("a-b", "p/q"),
        ("", "p"),
    ]
    found = [Entities("street", camera) for camera, _ in pairs]
    for entities, (_, place) in zip(found, pairs, strict=True):
        entities.update(of("enter", 1, place=place, count=1))
    assert len({topic for one in found for topic in one.states if topic.endswith("/occupancy")}) == len(pairs)
    assert len({topic for one in found for topic in one.configs if "occupancy" in topic}) == len(pairs)
