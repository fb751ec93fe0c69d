"""MqttSink: events to an MQTT broker, and the camera's state for Home Assistant."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from edgevid.errors import InputError, SourceError, require
from edgevid.output.frigate_fields import FrigateObjects
from edgevid.output.home_assistant import Entities, identifier
from edgevid.output.records import json_line
from edgevid.output.server import WAIT_S, server_of, tls_context, unavailable
from edgevid.types import Event, Frame, Header, Result
from edgevid.types.closing import Closing

KEEP_ALIVE_S = 20  # The broker says "offline" 1.5 times this after a camera's plug was pulled
CONNECTED, LOST = 0, -1


class MqttSink(Closing):
    """Events at TOPIC/events, acknowledged, and retained states below TOPIC/CAMERA: docs/events.md."""

    def __init__(self, url: str, *, ca: str | Path | None = None, discovery: str = "homeassistant") -> None:
        """`ca` is a PEM file of certificates to trust; `discovery` is Home Assistant's prefix, "" for none.

        InputError for an address or topic that cannot be used, MissingExtraError without paho-mqtt.
        """
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
        self._status, self._id = f"{self._entities.topic}/status", identifier(f"{self._base}-{header.camera}")

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
