"""Addresses of servers, and what the messages of libraries mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.errors import InputError, SourceError, masked
from edgevid.output.server import server_of, tls_context, unavailable


def test_an_address_has_its_parts_and_any_password() -> None:
    found = server_of("mqtts://gate:h@rd/2 gu#ess@broker.local/street/north/", "mqtt")
    assert (found.scheme, found.host, found.port, found.path) == ("mqtts", "broker.local", 8883, "street/north")
    assert (found.user, found.password) == ("gate", "h@rd/2 gu#ess")
    assert str(found) == "broker.local:8883/street/north"
    assert masked("the password h@rd/2 gu#ess") == "the password ***"
    assert str(server_of("mqtt://[::1]:1999", "mqtt")) == "::1:1999"


@pytest.mark.parametrize("url", ["broker", "http://broker", "mqtt://", "mqtt://broker:port/x", ""])
def test_another_address_is_one_sentence(url: str) -> None:
    with pytest.raises(InputError, match="an address such as mqtts://HOST/TOPIC, got"):
        server_of(url, "mqtt")


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (OSError(-2, "Name or service not known"), "the host is unknown"),
        (OSError(111, "Connection refused"), "nothing answers on this port"),
        (ConnectionResetError(104, "Connection reset by peer"), "it ended the connection: check the port"),
        (TimeoutError("timed out"), "the server does not answer in time"),
        ("certificate verify failed: Hostname mismatch", "its certificate is for another name"),
        ("certificate verify failed: self-signed certificate", "its certificate is not trusted"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "it does not answer with TLS"),
        (ValueError("something else"), "something else"),
        (TimeoutError(), "the server does not answer in time"),
    ],
)
def test_a_library_is_translated(problem: object, sentence: str) -> None:
    error = unavailable(problem)
    assert isinstance(error, SourceError)
    assert str(error).startswith(sentence)


def test_a_file_of_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(InputError, match=f"{name}: expected certificates in PEM format, got"):
            tls_context(tmp_path / name)
    assert tls_context(None).check_hostname
