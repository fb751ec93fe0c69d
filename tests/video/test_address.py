"""Passwords in addresses: masked in every form, and sent to the camera as they are meant."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevid.errors import EdgevidError, masked
from edgevid.video.connect import network_address

CORE = "Zq7x"
ODD = st.text("abcXYZ019/#@: ?&%=+!$'\"\\.-_~;,[]", max_size=8)
NAMES = st.text("abcdefgh019_-", min_size=1, max_size=8)
HOSTS = st.sampled_from(["10.0.0.5", "gate", "cam-3.lan", "[fe80::1]", "10.0.0.5:554", "gate:8080"])
PATHS = st.sampled_from(["", "/", "/cam", "/h264/ch1/main", "/live.sdp?channel=2&subtype=1"])
SCHEMES = st.sampled_from(["rtsp", "rtsps", "RTSP", "http", "https", "rtmp", "srt", "onvif"])
AROUND = st.sampled_from(
    ["{}", "'{}'", "[Errno 111] Connection refused: '{}'", 'opening "{}" failed', "{}: lost: no answer",
     "first http://u:other@b/c then {}"]
)  # fmt: skip
FIELDS = st.sampled_from(
    ["password", "passwd", "pwd", "pass", "psw", "loginpas", "p", "token", "auth", "key", "sig",
     "access_token",     "X-Amz-Signature", "PASSWORD"]
)  # fmt: skip


@given(SCHEMES, NAMES, ODD, ODD, HOSTS, PATHS, AROUND)
@settings(max_examples=400, deadline=None)
def test_a_password_before_the_host_never_appears_and_the_host_does(
    scheme: str, user: str, before: str, after: str, host: str, path: str, around: str
) -> None:
    shown = masked(around.format(f"{scheme}://{user}:{before}{CORE}{after}@{host}{path}"))
    assert CORE not in shown
    assert f"{scheme}://***:***@{host}{path}" in shown
    assert masked(shown) == shown


VALUES = st.text("abc019/#@%+!$-_~.: '", max_size=6)


@given(HOSTS, FIELDS, VALUES, VALUES, AROUND)
@settings(max_examples=400, deadline=None)
def test_a_password_in_a_query_never_appears_and_the_host_and_path_do(
    host: str, field: str, before: str, after: str, around: str
) -> None:
    address = f"http://{host}/mjpg/video.cgi?channel=2&{field}={before}{CORE}{after}&size=3"
    shown = masked(around.format(address))
    assert CORE not in shown
    assert f"{host}/mjpg/video.cgi?channel=2&{field}=***&size=3" in shown


@given(NAMES, ODD, HOSTS, st.integers(1, 2))
@settings(max_examples=200, deadline=None)
def test_a_password_in_an_encoded_address_inside_another_never_appears(
    user: str, odd: str, host: str, times: int
) -> None:
    inner = f"rtsp://{user}:{quote(odd, safe='')}{CORE}@{host}/cam?psw={CORE}&x=1"
    for _ in range(times):
        inner = quote(inner, safe="")
    shown = masked(f"http://proxy/play?url={inner}&size=3")
    assert CORE not in shown
    assert "proxy/play?url=" in shown
    assert quote(quote(host, safe=""), safe="") in shown or quote(host, safe="") in shown


@given(SCHEMES, NAMES, ODD, HOSTS, PATHS)
@settings(max_examples=300, deadline=None)
def test_the_camera_gets_the_password_as_it_is_meant(scheme: str, user: str, odd: str, host: str, path: str) -> None:
    password = odd.replace("%", "") + CORE  # "%41" in an address may be an "A" that is encoded
    sent = network_address(f"{scheme}://{user}:{password}@{host}{path}")
    login, _, rest = sent.removeprefix(f"{scheme}://").partition("@")
    assert rest == host + path
    assert unquote(login.partition(":")[2]) == password
    assert not set("/#@ ?") & set(login)
    assert network_address(sent) == sent


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:12/S3cret@10.0.0.5:554/cam", "rtsp://***:***@10.0.0.5:554/cam"),
        ("rtsp://admin:S3 cret@10.0.0.5/cam", "rtsp://***:***@10.0.0.5/cam"),
        ("rtsp://me@mail.com:pw@gate:554/1", "rtsp://***:***@gate:554/1"),
        ("http://10.0.0.5/v.cgi?loginuse=admin&loginpas=S3", "http://10.0.0.5/v.cgi?loginuse=***&loginpas=***"),
        ("http://10.0.0.5/mjpg?u=admin&p=S3cret", "http://10.0.0.5/mjpg?u=***&p=***"),
        ("http://h/x?psw=S3 cret: no frame for 3 s", "http://h/x?psw=***: no frame for 3 s"),
        ("http://gate:8080/@lobby", "http://gate:8080/@lobby"),
        ("http://10.0.0.5:8080/user@x.com/s", "http://10.0.0.5:8080/user@x.com/s"),
        ("rtsp://gate:554/1: lost, 5 fps @ 25", "rtsp://gate:554/1: lost, 5 fps @ 25"),
        ("async:http://u:p@h/x", "async:http://***:***@h/x"),
        ("/videos/2026/a@b.mp4", "/videos/2026/a@b.mp4"),
    ],
)  # fmt: skip
def test_what_is_shown(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert str(EdgevidError(text)) == shown


def test_lone_percent_signs_blanks_and_encoded_characters_in_an_address() -> None:
    assert network_address("rtsp://a:50%@gate/1 2") == "rtsp://a:50%25@gate/1%202"
    assert network_address("rtsp://a:p%40w@gate/1") == "rtsp://a:p%40w@gate/1"
    assert network_address("http://a:ü@gate/süd.mp4?x=é") == "http://a:%C3%BC@gate/s%C3%BCd.mp4?x=%C3%A9"
    assert network_address("rtsp://gate/1") == "rtsp://gate/1"
    assert network_address("http://token@gate/1") == "http://token@gate/1"
