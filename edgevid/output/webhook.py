"""WebhookSink: each event as one signed HTTP request."""

import base64
import hmac
import time as clock
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from edgevid.errors import InputError, hide
from edgevid.output.delivery import BATCH
from edgevid.output.http import HttpClient
from edgevid.output.records import json_line
from edgevid.output.server import reach, server_of
from edgevid.types import Event
from edgevid.types.closing import Closing
from edgevid.video.connect import network_address


class WebhookSink(Closing):
    """POSTs each event as JSON, signed as Standard Webhooks describes (standardwebhooks.com)."""

    def __init__(self, url: str, *, secret: str = "", ca: str | Path | None = None) -> None:
        """`secret` signs: "whsec_..." in base64, or any text. `ca` is a PEM file of certificates to trust.

        InputError for an address or secret that cannot be used, MissingExtraError without httpx.
        """
        self._client = HttpClient(ca, "Webhooks")
        self._server, self._url, self._ca = server_of(url, "webhook"), network_address(url), ca
        self.name = f"webhook {self._server.host}:{self._server.port}"  # paths often hold a secret
        hide(secret)
        try:
            encoded = secret.removeprefix("whsec_")
            self._key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
        except ValueError:
            raise InputError("webhook: expected base64 after whsec_ in the secret, got other text") from None
        self._done = deque[str](maxlen=2 * BATCH)

    def send(self, events: Sequence[Event]) -> None:
        """Sends each event, but for those that an earlier try delivered; SourceError where it comes again.

        RejectedError where the other side answers that it never takes the event.
        """
        for event in events:
            if event.id not in self._done:
                body = json_line(event.to_dict()).rstrip().encode()
                self._client.request("POST", self._url, content=body, headers=self._headers(event.id, body))
                self._done.append(event.id)

    def check(self) -> str:
        """Whether the server answers, and its certificate; nothing is sent to it."""
        return reach(self._server, self._ca)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _headers(self, number: str, body: bytes) -> dict[str, str]:
        stamp = str(int(clock.time()))
        headers = {"content-type": "application/json", "user-agent": "edgevid", "webhook-id": number,
                   "webhook-timestamp": stamp}  # fmt: skip
        if self._key:
            signed = hmac.digest(self._key, f"{number}.{stamp}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        return headers
