"""The address of a stream as FFmpeg and HTTP need it: what a person typed, with odd characters encoded."""

import re
from urllib.parse import quote

from edgevid.errors import login_length

NETWORK = re.compile(r"(?i)[a-z][a-z0-9+.-]*://")  # How the address of a stream in a network begins


def network_address(typed: str) -> str:
    """`typed` with user name and password encoded: a password may hold "/", "#", "@" and blanks.

    >>> network_address("rtsp://admin:12/S3 cret@10.0.0.5:554/cam")
    'rtsp://admin:12%2FS3%20cret@10.0.0.5:554/cam'
    """
    scheme = NETWORK.match(typed)
    if not scheme:
        return typed
    begin = scheme.end()
    end = begin + login_length(typed[begin:])
    user, colon, password = typed[begin:end].partition(":")
    host, slash, path = typed[end:].partition("/")
    path = re.sub(r"[^\x21-\x7e]+", lambda odd: quote(odd[0]), path)  # HTTP takes no blank and no umlaut
    return typed[:begin] + _encoded(user) + colon + _encoded(password) + host + slash + path


def _encoded(text: str) -> str:
    """Percent-encoded, except for what is so already."""
    return "".join(
        part if number % 2 else quote(part, safe="") for number, part in enumerate(re.split(r"(%[0-9a-fA-F]{2})", text))
    )
