"""Requests of sinks to a web server: each answer that is no success is one sentence."""

import time as clock
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from edgevid.errors import SourceError, require
from edgevid.output.delivery import RejectedError
from edgevid.output.server import WAIT_S, tls_context, unavailable
from edgevid.types.closing import Closing

REJECTED = {400, 409, 410, 413, 414, 415, 422}  # Answers that another try does not change
MOST_WAIT_S = 3600.0
LOGIN = "check the login in the address, and the secret"
REMEDY = {401: LOGIN, 403: LOGIN, 404: "check the path of the address"}


class HttpClient(Closing):
    """A connection that is kept, and the wait that its server demanded (Retry-After)."""

    def __init__(self, ca: str | Path | None, purpose: str) -> None:
        """`ca` is a PEM file of certificates to trust; MissingExtraError without httpx."""
        self._http = require("httpx", extra="webhook", purpose=purpose)
        self._client = self._http.Client(timeout=WAIT_S, verify=tls_context(ca))
        self._not_before = 0.0

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def request(self, method: str, url: str, *, accepted: tuple[int, ...] = (), **options: Any) -> Any:
        """The answer where it is a success, or `accepted`; else RejectedError or SourceError."""
        if (wait := self._not_before - clock.monotonic()) > 0:
            raise SourceError(f"the server demands to wait for another {wait:.0f} s")
        try:
            answer = self._client.request(method, url, **options)
        except (self._http.HTTPError, self._http.InvalidURL) as error:
            raise unavailable(error) from None
        status = answer.status_code
        if 200 <= status < 300 or status in accepted:
            return answer
        said = f"the server answers {status} {answer.reason_phrase}".rstrip()
        if status in REJECTED:
            raise RejectedError(said)
        self._not_before = clock.monotonic() + _wait_s(answer.headers.get("retry-after", ""))
        moved = f"it moved: use {answer.headers['location']}" if answer.has_redirect_location else ""
        remedy = moved or REMEDY.get(status, "")
        raise SourceError(f"{said}; {remedy}" if remedy else said)


def _wait_s(retry_after: Any) -> float:
    with suppress(ValueError):
        return min(float(retry_after), MOST_WAIT_S)
    with suppress(ValueError):
        return min(parsedate_to_datetime(retry_after).timestamp() - clock.time(), MOST_WAIT_S)
    return 0.0
