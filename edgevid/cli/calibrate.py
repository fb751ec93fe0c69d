"""`edgevid calibrate`: pair pixels with meters on the ground, in the browser or by options; `edgevid health`: what a
camera's health monitor has learned, and the answer to its alarm."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, write_image
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.speed import CalibrationReport, CameraCalibration
    from edgevid.video import FrameSeeker

LAST_FRAME_S = 1.0  # A time up to this much behind the last frame takes the last frame


def command(**options: Any) -> None:
    """Calibrate a camera: pair pixels with meters on the road, and see the grid.

    Opens a page, unless --rectangle, --point, --pairs, or --calibration with --out or --image is given."""
    from edgevid._opencv import require_opencv
    from edgevid.site import camera_calibration as calibrate
    from edgevid.speed import read_calibration
    from edgevid.speed.calibration_file import provenance_text, write_calibration
    from edgevid.video import FrameSeeker

    given = SimpleNamespace(**options)
    source = shared.one_source(given.source, given.source_option, example="edgevid calibrate gate.mp4")
    out, image, time = given.out, given.image, given.time
    if given.rectangle or given.point or given.pairs or given.calibration:  # else the page asks
        outputs = {"--out": (out, "TOML"), "--image": (image, "image")}
        inputs = (source, given.pairs, given.calibration if out != given.calibration else None)
        check_outputs(outputs, inputs, force=given.force)
    parts = calibrate.parse_sources(given.rectangle, given.width_m, given.length_m, given.point, given.pairs)
    area = calibrate.parse_region(given.region)
    existing = read_calibration(given.calibration) if given.calibration else None
    with FrameSeeker(source) as frames:
        if not parts and not (existing is not None and (out or image)):
            served = {"host": given.host, "port": given.port, "open_browser": given.browser}
            _serve_page(frames, existing, out, time, **served, **shared.serving(given))
            return
        frame = frames.at(time)
        if not frames.live and time > frame.time + LAST_FRAME_S:
            raise InputError(f"--time: expected at most {frame.time:.2f} s, the last frame, got {time:g} s")
    known = {"region": area, "k1": given.k1, "focal": given.focal_px, "name": out.stem if out else ""}
    if existing is not None:
        existing = existing.scaled_to(frame.size)
        parts = [(existing.image, existing.meters), *parts]
        known |= {"k1": given.k1 or existing.k1, "focal": given.focal_px or existing.focal}
        known["region"] = area if area is not None or len(parts) > 1 else existing.region
    made, report = _examined(parts, frame.size, known, drop_outliers=given.drop_outliers)
    if out:
        text = given.provenance or provenance_text(source, frame.time, made)
        out = write_calibration(out, made, text, replace=given.force)
    typer.echo(f"written: {out}" if out else "not written: give --out calibration/camera/<name>.toml to keep it")
    if image:
        require_opencv("--image")
        write_image("--image", image, calibrate.draw_calibration(frame.image, made, report))
        typer.echo(f"written: {image}")


def _examined(parts: list[Any], size: tuple[int, int], known: dict[str, Any], *,
              drop_outliers: bool) -> tuple[CameraCalibration, CalibrationReport]:  # fmt: skip
    """The calibration and what is known of its errors, perhaps without the points that the others contradict."""
    import numpy as np

    from edgevid.speed import examine, make_calibration
    from edgevid.speed.calibration_report import without

    pixels, meters = map(np.concatenate, zip(*parts, strict=True))
    made = make_calibration(pixels, meters, size, **known)
    report = examine(made)
    if drop_outliers and report.outliers:
        typer.echo(f"dropped: point {', '.join(str(row + 1) for row in sorted(report.outliers))}")
        made = without(made, report.outliers)
        report = examine(made)
    print_report(made, report)
    return made, report


def _serve_page(frames: FrameSeeker, existing: CameraCalibration | None, out: Path | None, time: float,
                **served: Any) -> None:  # fmt: skip
    """The page, until Ctrl-C."""
    from edgevid.speed import read_calibration
    from edgevid.viewer.calibration import CalibrationSession, calibration_app
    from edgevid.viewer.serve import serve

    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(frames.uri).stem).strip("-") or "camera"
    path = out or Path("calibration/camera") / f"{stem}.toml"
    if existing is None and path.is_file():
        existing = read_calibration(path)
    session = CalibrationSession(frames, folder=path.parent, name=path.stem, existing=existing, time=time)
    serve(calibration_app(session), purpose="The calibration page", **served,
          announce=lambda url: typer.echo(f"calibration page: {url}   (Ctrl-C ends it)"))  # fmt: skip
    typer.echo(f"written: {session.saved}" if session.saved else "nothing was written")


def print_report(calibration: CameraCalibration, report: CalibrationReport) -> None:
    """Errors, scale, camera and warnings as text."""
    console = results()
    px, meters = report.error_px, report.error_m
    if len(px) == 4:
        console.print("[bold]4 points[/]: they fit exactly; a fifth point shows the reprojection error")
    else:
        pixels = f"[bold]{len(px)} points[/]: reprojection error mean {px.mean():.2f} px, worst {px.max():.2f} px"
        console.print(
            f"{pixels} (point {int(px.argmax()) + 1}); mean {meters.mean():.3f} m, worst {meters.max():.3f} m"
        )
    rows = [(s.place, "{:.0f}, {:.0f}".format(*s.pixel), "{:.1f}, {:.1f}".format(*s.meter), f"{s.along:.3f}",
             f"{s.across:.3f}", f"{100 * s.error:.1f} %") for s in report.scales]  # fmt: skip
    print_rows(console, ("region", "pixel", "meters x, y", "m/pixel along", "across", "speeds ±"), rows)
    console.print("speeds ±: one standard error from 2 pixels at every click; errors of the meters add to it")
    if report.camera:
        c = report.camera
        console.print(f"camera of this view: {c.height_m:.1f} m above the road, "
                      f"pitch {c.pitch_deg:.0f} degrees down, {c.width_deg:.0f} degrees wide, "
                      f"focal length {c.focal_px:.0f} px; compare with the site")  # fmt: skip
    for row in report.outliers:
        console.print(f"[bold red]outlier:[/] point {row + 1}, off by {px[row]:.1f} px ({meters[row]:.2f} m)")
    for text in report.warnings:
        console.print(f"[yellow]warning:[/] {escape(text)}")


def health_command(folder: Path, acknowledge: bool, relearn: bool) -> None:
    """Show a camera's health, and acknowledge its alarm (exit status 1 while one is open)."""
    from edgevid.health.monitor import STATE, HealthFolder

    if acknowledge and relearn:
        raise InputError("health: expected one of --acknowledge and --relearn, got both")
    if not (folder / STATE).is_file():
        raise InputError(f"{folder}: expected the folder of a monitored camera (--health), got one without {STATE}")
    store = HealthFolder(folder)
    references, statistics, alarm = store.read()
    for note in store.notes:
        typer.echo(note)
    if acknowledge or relearn:
        store.put_acknowledgement("unchanged" if acknowledge else "recalibrated")
        typer.echo("saved: the running program, or the next one that starts, applies it at its next check")
        return
    size = " of {}x{} pixels".format(*references[0].reference.size) if references else ""
    typer.echo(f"references: {len(references)}{size}")
    for name, unit in (("speeds", "hours of the week with a baseline"), ("ratio", "directions")):
        slots = (statistics or {}).get(name, {}).get("slots", {})
        typer.echo(f"{name}: {len(slots)} {unit}, {sum(map(len, slots.values()))} vehicles kept")
    typer.echo(f"alarm: {f'since {alarm.time}: {alarm.message}' if alarm else 'none'}")
    if alarm:
        typer.echo("check the camera, then: --acknowledge, or --relearn after calibrating it again")
        raise typer.Exit(1)
