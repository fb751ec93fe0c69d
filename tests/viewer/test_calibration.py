"""The calibration page: what its server answers, and the page itself in a real browser where there is one."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely

pytest.importorskip("starlette", reason="the extra 'viewer' is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from starlette.testclient import TestClient

from edgevid.errors import InputError, SourceError
from edgevid.files import toml_text
from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.speed.calibration_file import calibration_tables, read_calibration
from edgevid.video.open import FrameSeeker
from edgevid.viewer import calibration
from edgevid.viewer.calibration import CalibrationSession, calibration_app
from edgevid.viewer.security import SecurityMiddleware

SIZE = (960, 540)
CORNERS = [[200, 450], [750, 450], [550, 200], [400, 200]]
BODY = {"rectangle": {"pixels": CORNERS, "width_m": 7, "length_m": 30}}
WIDER = {"rectangle": {"pixels": CORNERS, "width_m": 8, "length_m": 30}}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Gray, with a white cross at (200, 450)."""
    image = np.full((540, 960, 3), 90, np.uint8)
    image[440:461, 199:202] = image[449:452, 190:211] = 255
    path = tmp_path / "road.png"
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def session(photo: Path, tmp_path: Path) -> Iterator[CalibrationSession]:
    with FrameSeeker(photo) as frames:
        yield CalibrationSession(frames, folder=tmp_path / "camera", name="gate")


@pytest.fixture
def client(session: CalibrationSession) -> TestClient:
    return TestClient(calibration_app(session))


def test_who_only_looks_gets_the_frame_that_is_kept(
    session: CalibrationSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No seek and no encoding of theirs delays the operator, whose frame stays the one that is saved."""
    sought, encoded, at, encode = list[float](), list[Any](), session.frames.at, calibration.encode_jpeg
    monkeypatch.setattr(session.frames, "at", lambda seconds: sought.append(seconds) or at(seconds))
    monkeypatch.setattr(calibration, "encode_jpeg", lambda *given: encoded.append(given) or encode(*given))
    client = TestClient(SecurityMiddleware(calibration_app(session), token="of-operators", viewer_token="of-viewers"),
                        base_url="http://localhost")  # fmt: skip
    first = client.get("/api/frame?t=0", headers={"authorization": "Bearer of-operators"})
    for seconds in ("0.5", "7", "nan"):
        one = client.get(f"/api/frame?t={seconds}", headers={"authorization": "Bearer of-viewers"})
        assert (one.status_code, one.content) == (200, first.content)
    assert (sought, len(encoded)) == ([], 1)
    assert client.get("/api/frame?t=7", headers={"authorization": "Bearer of-operators"}).status_code == 200
    assert sought == [7.0]


def test_the_page_and_its_files_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Calibrate a camera" in page.text
    for name in (
        "calibration.css",
        "calibration.js",
        "calibration_model.js",
        "calibration_stage.js",
        "calibration_report.js",
        "base.css",
    ):
        assert client.get(f"/static/{name}").status_code == 200


def test_no_page_asks_another_host() -> None:
    """No CDN: every address in the page and its scripts is of this server."""
    static = Path(__file__).resolve().parents[2] / "edgevid" / "viewer" / "static"
    for file in static.glob("calibration*"):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file.name
        assert "https://" not in text, file.name


def test_what_the_page_starts_with(client: TestClient) -> None:
    start = client.get("/api/start").json()
    assert start["source"] == "road.png"
    assert start["size"] == [960, 540]
    assert start["name"] == "gate"
    assert start["calibration"] is None


def test_the_image_is_that_of_the_source(client: TestClient) -> None:
    reply = client.get("/api/frame?t=0")
    assert reply.headers["x-size"] == "960x540"
    image = cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (540, 960, 3)
    assert image[450, 200].min() > 200
    for wrong in ("x", "-1", "nan", "1e999"):
        assert client.get(f"/api/frame?t={wrong}").status_code in (200, 400)


def test_solving_is_make_calibration(client: TestClient) -> None:
    answer = client.post("/api/solve", json=BODY).json()
    assert answer["ok"]
    made = make_calibration(np.array(CORNERS, float), rectangle(7, 30), SIZE)
    middle = answer["scales"][1]
    expected = made.ground_sample_distance(np.array([middle["pixel"]]))[0]
    assert middle["along"] == pytest.approx(expected)
    assert {line["label"] for line in answer["grid"]} >= {"0 m", "10 m", "20 m"}
    across = next(line for line in answer["grid"] if line["label"] == "20 m")
    meters = made.to_ground(np.array(across["points"]))
    assert meters[:, 1] == pytest.approx(np.full(len(meters), 20.0), abs=0.3)


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b"[1]", 400), (b"[" * 100_000, 400), (b"x" * 2_000_000, 413)],
)
def test_requests_that_are_not_json_are_rejected(client: TestClient, data: bytes, status: int) -> None:
    for path in ("/api/solve", "/api/save"):
        assert client.post(path, content=data).status_code == status
    points = b'{"points": [' + b", ".join([b'{"pixel": [NaN, 1], "meter": [1, 2]}'] * 5) + b"]}"
    assert client.post("/api/solve", content=points).json()["error"].startswith("Expected numbers up to")


def test_saving_asks_before_it_replaces(client: TestClient, tmp_path: Path) -> None:
    made = client.post("/api/save", json={"calibration": BODY, "name": "gate 2", "note": "tape"})
    assert made.status_code == 200
    path = tmp_path / "camera" / "gate 2.toml"
    assert Path(made.json()["path"]) == path
    np.testing.assert_allclose(read_calibration(path).image, CORNERS)
    assert 'provenance = "tape"' in path.read_text()
    again = client.post("/api/save", json={"calibration": WIDER, "name": "gate 2.toml"})
    assert again.status_code == 409
    assert again.json()["error"] == f"{path} exists."
    assert read_calibration(path).meters[1, 0] == 7
    again = client.post("/api/save", json={"calibration": WIDER, "name": "gate 2", "replace": True})
    assert again.status_code == 200
    assert read_calibration(path).meters[1, 0] == 8


@pytest.mark.parametrize("name", ["", "../gate", "a/b", "a\\b", ".hidden", "x" * 200, None, 3, "gate."])
def test_a_name_stays_in_its_folder(client: TestClient, tmp_path: Path, name: Any) -> None:
    assert client.post("/api/save", json={"calibration": BODY, "name": name}).status_code == 400
    assert not list(tmp_path.rglob("*.toml"))


def test_an_invalid_calibration_is_not_saved(client: TestClient, tmp_path: Path) -> None:
    wrong = {"rectangle": {**BODY["rectangle"], "width_m": -7}}
    reply = client.post("/api/save", json={"calibration": wrong, "name": "gate"})
    assert reply.status_code == 400
    assert reply.json()["error"] == "Rectangle.width_m: expected a number of at least 0.001, got -7"
    assert client.post("/api/save", json={"name": "gate"}).status_code == 400
    assert not list(tmp_path.rglob("*.toml"))


def test_a_calibration_of_another_aspect_ratio_is_rejected(photo: Path, tmp_path: Path) -> None:
    square = make_calibration(np.array(CORNERS, float), rectangle(7, 30), (700, 700))
    with FrameSeeker(photo) as frames, pytest.raises(InputError, match="aspect ratio"):
        CalibrationSession(frames, folder=tmp_path, name="x", existing=square)
    with pytest.raises(SourceError, match="no such file"):
        FrameSeeker(tmp_path / "gone.mp4")


def test_the_command_serves_the_page(photo: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    from edgevid import cli
    from edgevid.viewer import serve

    (tmp_path / "gate.toml").write_text(
        toml_text(calibration_tables(make_calibration(np.array(CORNERS, float), rectangle(7, 30), SIZE)))
    )
    served: dict[str, Any] = {}

    def pretend(app: Any, **options: Any) -> None:
        served.update(options, start=TestClient(app).get("/api/start").json())

    monkeypatch.setattr(serve, "serve", pretend)
    with contextlib.suppress(SystemExit):
        cli.main(["calibrate", str(photo), "--out", str(tmp_path / "gate.toml"), "--no-browser", "--port", "0"])
    assert served["start"]["calibration"]["rectangle"]["width_m"] == 7  # it goes on from what is there
    assert served["open_browser"] is False
    assert "nothing was written" in capsys.readouterr().out


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, session: CalibrationSession) -> Iterator[Any]:
    from edgevid.viewer.serve import Server

    with Server(calibration_app(session), port=0) as server:
        context = chromium.new_context(viewport={"width": 1200, "height": 800})
        shown = context.new_page()
        wrong: list[str] = []
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        shown.goto(server.url)
        shown.wait_for_selector("html[data-ready]")
        yield shown
        context.close()
    assert [words for words in wrong if "409" not in words] == []


def calibration_in(page: Any) -> dict[str, Any]:
    """What the page keeps: its model."""
    return json.loads(page.evaluate("sessionStorage.getItem(Object.keys(sessionStorage)[0])"))


def drag(page: Any, number: int, to: list[float]) -> None:
    scale = page.evaluate("document.getElementById('stage').clientWidth") / SIZE[0]
    stage, handle = page.locator("#stage").bounding_box(), page.locator(".handle").nth(number).bounding_box()
    page.mouse.move(handle["x"] + 15, handle["y"] + 15)
    page.mouse.down()
    page.mouse.move(stage["x"] + to[0] * scale, stage["y"] + to[1] * scale, steps=4)
    assert page.locator("#loupe").is_visible()
    page.mouse.up()
    assert not page.locator("#loupe").is_visible()


def test_a_calibration_is_made_by_hand(page: Any, tmp_path: Path) -> None:
    for number, corner in enumerate(CORNERS):
        drag(page, number, corner)
    assert page.locator("#status").inner_text() == "incomplete"
    page.fill("#width", "7")
    page.fill("#length", "30,0")  # a decimal comma is understood
    page.wait_for_selector(".grid-line", state="attached")
    assert page.locator("#scales tbody tr").count() == 3
    assert "Camera: " in page.inner_text("#camera")
    page.click("#save")
    page.wait_for_selector("#saved:has-text('Saved')")
    made = read_calibration(tmp_path / "camera" / "gate.toml")
    np.testing.assert_allclose(made.image, CORNERS, atol=2)
    np.testing.assert_allclose(made.meters, rectangle(7, 30))
    page.click("#save")  # it is there now
    page.click("#replace button[value=no]")
    page.click("#save")
    page.click("#replace button[value=yes]")
    page.wait_for_selector("#saved:has-text('Saved')")


def test_keys_nudge_and_undo_brings_back(page: Any) -> None:
    handle = page.locator(".handle").first
    handle.focus()
    page.keyboard.press("ArrowRight")
    start = calibration_in(page)["rectangle"][0]
    for keys in ("Shift+ArrowDown", "ArrowLeft", "Alt+ArrowUp"):
        page.keyboard.press(keys)
    assert calibration_in(page)["rectangle"][0] == pytest.approx([start[0] - 1, start[1] + 9.9])
    page.click("#undo")  # nudges in a row are one step
    assert calibration_in(page)["rectangle"][0] == pytest.approx([start[0] - 1, start[1]])
    page.click("#redo")
    assert calibration_in(page)["rectangle"][0] == pytest.approx([start[0] - 1, start[1] + 9.9])


def test_points_and_a_region_are_added_and_taken_away(page: Any) -> None:
    page.click("[data-mode=points]")
    assert page.locator("#points-table tbody tr").count() == 4
    page.click("#add-point")
    box = page.locator("#stage").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert calibration_in(page)["points"][4] == {"u": 480, "v": 270, "x": None, "y": None}
    page.fill("[aria-label='x of point 5 in meters']", "-3.5")
    assert calibration_in(page)["points"][4]["x"] == -3.5
    page.locator(".handle").nth(4).focus()
    page.keyboard.press("Delete")
    assert len(calibration_in(page)["points"]) == 4
    page.click("summary")
    page.click("#region-make")
    page.click("#region-more")
    assert len(calibration_in(page)["region"]) == 5
    page.click("#region-drop")
    assert calibration_in(page)["region"] is None


def test_mistakes_are_shown(page: Any) -> None:
    page.fill("#width", "0")
    page.fill("#length", "30")
    page.wait_for_selector("#problem:has-text('at least 0.001')")
    assert page.locator("#save").is_disabled()
    page.fill("#width", "what")
    page.wait_for_selector("#problem:has-text('a number for width')")
    assert page.locator("#status").inner_text() == "invalid"


def test_points_need_all_their_meters(page: Any) -> None:
    page.fill("#width", "7")
    page.wait_for_selector("#problem:has-text('Enter the rectangle')")
    assert page.locator("#status").inner_text() == "incomplete"
    page.click("[data-mode=points]")
    page.wait_for_selector("#problem:has-text('at least 4 points with meters, got 2; 2 without meters')")
    for number in (3, 4):
        page.fill(f"[aria-label='y of point {number} in meters']", "30")
    page.wait_for_selector(".grid-line", state="attached")
    page.click("#add-point")
    page.click("#add-point")
    page.wait_for_selector("#problem:has-text('Enter the meters of point 5, or remove it')")
    assert page.locator("#save").is_disabled()


def test_the_page_goes_on_from_a_file(chromium: Any, photo: Path, tmp_path: Path) -> None:
    from edgevid.viewer.serve import Server

    area = [[150, 480], [800, 480], [560, 190], [390, 190]]
    pixels, meters = np.vstack([CORNERS, [[470, 330]]]).astype(float), np.vstack([rectangle(7, 30), [[3.5, 9]]])
    made = make_calibration(pixels, meters, SIZE, region=shapely.Polygon(area), k1=-0.05, focal=900.0)
    with FrameSeeker(photo) as frames:
        session = CalibrationSession(frames, folder=tmp_path, name="gate", existing=made)
        with Server(calibration_app(session), port=0) as server:
            shown = chromium.new_page()
            shown.goto(server.url)
            shown.wait_for_selector("html[data-ready]")
            shown.click("#save")
            shown.wait_for_selector("#saved:has-text('Saved')")
            shown.close()
    again = read_calibration(tmp_path / "gate.toml")
    np.testing.assert_allclose(again.image, pixels)
    np.testing.assert_allclose(again.meters, meters)
    assert (again.k1, again.focal) == (-0.05, 900)
    assert again.region.equals(made.region)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (390, "light")])
def test_axe_finds_no_fault(chromium: Any, session: CalibrationSession, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    from edgevid.viewer.serve import Server

    with Server(calibration_app(session), port=0) as server:
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        shown = context.new_page()
        shown.goto(server.url)
        shown.wait_for_selector("html[data-ready]")
        shown.fill("#width", "7")
        shown.fill("#length", "30")
        shown.wait_for_selector(".grid-line", state="attached")
        found = axe.Axe().run(shown).response["violations"]
        assert [(fault["id"], fault["impact"]) for fault in found] == []
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        context.close()
