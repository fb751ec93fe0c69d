"""WebhookSink: each event as one signed HTTP request."""

from __future__ import annotations

import base64
import hmac
import time as clock
from collections import deque
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, SourceError, hide, require
from edgevid.output.delivery import BATCH, RejectedError
from edgevid.output.records import json_line
from edgevid.output.server import WAIT_S, server_of, tls_context, unavailable
from edgevid.types import Event
from edgevid.types.closing import Closing
from edgevid.video.address import network_address

REJECTED = {400, 409, 410, 413, 414, 415, 422}
"""Answers that another try does not change."""
MOST_WAIT_S = 3600.0
LOGIN = "check the login in the address, and the secret"
REMEDY = {401: LOGIN, 403: LOGIN, 404: "check the path of the address"}


class WebhookSink(Closing):
    """POSTs each event as JSON, signed as Standard Webhooks describes (standardwebhooks.com)."""

    def __init__(self, url: str, *, secret: str = "", ca: str | Path | None = None) -> None:
        """`secret` signs: "whsec_..." in base64, or any text. `ca` is a PEM file of certificates to trust.

        InputError for an address or secret that cannot be used, MissingExtraError without httpx.
        """
        self._http = require("httpx", extra="webhook", purpose="Webhooks")
        server, self._url = server_of(url, "webhook"), network_address(url)
        self.name = f"webhook {server.host}:{server.port}"  # paths often hold a secret
        hide(secret)
        try:
            encoded = secret.removeprefix("whsec_")
            self._key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
        except ValueError:
            raise InputError("webhook: expected base64 after whsec_ in the secret, got other text") from None
        self._client = self._http.Client(timeout=WAIT_S, verify=tls_context(ca))
        self._done = deque[str](maxlen=2 * BATCH)
        self._not_before = 0.0

    def send(self, events: Sequence[Event]) -> None:
        """Sends each event, but for those that an earlier try delivered; SourceError where it comes again.

        RejectedError where the other side answers that it never takes the event.
        """
        wait = self._not_before - clock.monotonic()
        if wait > 0:
            raise SourceError(f"the server demands to wait for another {wait:.0f} s")
        for event in events:
            if event.id not in self._done:
                self._post(event)
                self._done.append(event.id)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _post(self, event: Event) -> None:
        body = json_line(event.to_dict()).rstrip().encode()
        try:
            answer = self._client.post(self._url, content=body, headers=self._headers(event.id, body))
        except (self._http.HTTPError, self._http.InvalidURL) as error:
            raise unavailable(error) from None
        status = answer.status_code
        if 200 <= status < 300:
            return
        said = f"the server answers {status} {answer.reason_phrase}".rstrip()
        if status in REJECTED:
            raise RejectedError(said)
        self._not_before = clock.monotonic() + _wait_s(answer.headers.get("retry-after", ""))
        moved = f"it moved: use {answer.headers['location']}" if answer.has_redirect_location else ""
        remedy = moved or REMEDY.get(status, "")
        raise SourceError(f"{said}; {remedy}" if remedy else said)

    def _headers(self, number: str, body: bytes) -> dict[str, str]:
        stamp = str(int(clock.time()))
        headers = {"content-type": "application/json", "user-agent": "edgevid", "webhook-id": number,
                   "webhook-timestamp": stamp}  # fmt: skip
        if self._key:
            signed = hmac.digest(self._key, f"{number}.{stamp}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        return headers


def _wait_s(retry_after: Any) -> float:
    """The seconds of a header Retry-After: a number, or a date; 0 for none."""
    try:
        return min(float(retry_after), MOST_WAIT_S)
    except ValueError:
        pass
    try:
        return min(parsedate_to_datetime(retry_after).timestamp() - clock.time(), MOST_WAIT_S)
    except ValueError:
        return 0.0
