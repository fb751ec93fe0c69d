"""`edgevid calibrate`: which pixel is which meter, in the browser or from flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgevid.speed.calibration import CameraCalibration
    from edgevid.speed.calibration_report import CalibrationReport

Source = Annotated[str, typer.Argument(help="Video, image, folder of images, camera number, or address.")]
Rect = Annotated[
    str, typer.Option(help='Corners of a rectangle on the road: "x,y x,y x,y x,y" (near left, near right, '
                           "far right, far left).")
]  # fmt: skip
Width = Annotated[float | None, typer.Option(help="Meters from the first corner to the second.")]
Length = Annotated[float | None, typer.Option(help="Meters from the second corner to the third.")]
Point = Annotated[
    list[str], typer.Option(help='A pixel and its meters, "u,v=X,Y"; give as many as you like.')
]
Pairs = Annotated[Path | None, typer.Option(help="CSV file of pairs: u,v,X,Y a line.")]
Start = Annotated[
    Path | None, typer.Option("--from", help="Start from this calibration (to check or change it).")
]
Lens = Annotated[float, typer.Option(help="Radial distortion k1 of a wide lens (barrel: below 0).")]
Focal = Annotated[float | None, typer.Option(help="Focal length in pixels that k1 refers to.")]
Region = Annotated[
    str, typer.Option(help='Where the calibration holds: "x,y x,y x,y ..." (default: the hull).')
]
Time = Annotated[float, typer.Option(help="Second of the video to look at.", min=0)]
Out = Annotated[Path | None, typer.Option(help="Calibration to write: calibration/camera/<name>.toml")]
Picture = Annotated[Path | None, typer.Option("--image", help="Image of the grid to write (PNG or JPEG).")]
Drop = Annotated[bool, typer.Option("--drop-outliers", help="Leave out the points the others contradict.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing calibration.")]
Note = Annotated[str, typer.Option(help="What the meters come from; kept in the file.")]
Host = Annotated[str, typer.Option(help="Address of the page; others than this machine see it on 0.0.0.0.")]
Port = Annotated[int | None, typer.Option(help="Port of the page (default: the first free one).")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")]


def command(
    source: Source,
    rect: Rect = "",
    width: Width = None,
    length: Length = None,
    point: Point = [],  # noqa: B006  typer copies it
    pairs: Pairs = None,
    start: Start = None,
    lens: Lens = 0.0,
    focal: Focal = None,
    region: Region = "",
    time: Time = 0.0,
    out: Out = None,
    image: Picture = None,
    drop_outliers: Drop = False,
    force: Force = False,
    note: Note = "",
    host: Host = "127.0.0.1",
    port: Port = None,
    browser: Browser = True,
) -> None:
    """Calibration a camera: pair pixels with meters on the road and see the grid.

    With --rect, --point, --pairs, or --from and one of --out and --image it works without a page.
    """
    from edgevid.cli.outputs import refuse_overwriting
    from edgevid.errors import InputError
    from edgevid.site import calibrate as tool
    from edgevid.speed.calibration import make_calibration
    from edgevid.speed.calibration_file import read_calibration
    from edgevid.speed.calibration_report import examine
    from edgevid.speed.outliers import without
    from edgevid.video.seek import FrameSeeker

    parts = [tool.parse_rectangle(rect, width, length)] if rect else []
    if not rect and (width is not None or length is not None):
        raise InputError("calibration: --width and --length belong to --rect, which was not given")
    parts += [tool.parse_pairs(point)] if point else []
    parts += [tool.read_pairs(pairs)] if pairs else []
    area = tool.parse_region(region)
    given = read_calibration(start) if start else None
    with FrameSeeker(source) as stills:
        if not parts and not (given is not None and (out or image)):
            _page(stills, given, out, time, host, port, browser)
            return
        frame = stills.at(time)
    if given is not None:
        given = given.scaled_to(frame.size)
        parts.insert(0, (given.image, given.meters))
        lens, focal = lens or given.k1, focal or given.focal
        area = area if area is not None or len(parts) > 1 else given.region
    made = make_calibration(
        *tool.joined(parts), frame.size, region=area, k1=lens, focal=focal, name=out.stem if out else ""
    )
    report = examine(made)
    if drop_outliers and report.outliers:
        dropped, made = report.outliers, without(made, report.outliers)
        report = examine(made)
        typer.echo(f"dropped: point {', '.join(str(row + 1) for row in sorted(dropped))}")
    print_report(made, report)
    refuse_overwriting((out, image), (source, pairs))
    _write(made, report, frame, out, image, force, note or _provenance(source, frame, report))


def _write(
    made: CameraCalibration,
    report: CalibrationReport,
    frame: Any,
    out: Path | None,
    image: Path | None,
    force: bool,
    note: str,
) -> None:
    from edgevid.errors import InputError
    from edgevid.site import calibrate as tool

    if out:
        typer.echo(f"written: {tool.write_calibration(out, made, note, replace=force)}")
    else:
        typer.echo("not written: give --out calibration/camera/<name>.toml to keep it")
    if image:
        import cv2

        try:
            image.parent.mkdir(parents=True, exist_ok=True)
            done = cv2.imwrite(str(image), tool.draw_calibration(frame.image, made, report)[:, :, ::-1])
        except (cv2.error, OSError):
            done = False
        if not done:
            raise InputError(f"--image: expected a writable name that ends in .png or .jpg, got {image}")
        typer.echo(f"written: {image}")


def _provenance(source: str, frame: Any, report: CalibrationReport) -> str:
    from edgevid.errors import masked

    name = masked(source) if "://" in source else Path(source).name
    count = len(report.error_px)
    error = f", mean error {report.error_px.mean():.2f} px" if count > 4 else ""
    return f"edgevid calibrate on {name} at {frame.time:.2f} s; {count} points{error}"


def _page(
    stills: Any,
    given: CameraCalibration | None,
    out: Path | None,
    time: float,
    host: str,
    port: int | None,
    browser: bool,
) -> None:
    """The page, until Ctrl-C."""
    import re

    from edgevid.speed.calibration_file import read_calibration
    from edgevid.viewer.calibration import CalibrationDesk, calibration_app
    from edgevid.viewer.serve import serve

    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(stills.uri).stem).strip("-") or "camera"
    path = out or Path("calibration/camera") / f"{stem}.toml"
    if given is None and path.is_file():
        given = read_calibration(path)  # what is there is where to go on from
    desk = CalibrationDesk(stills, folder=path.parent, name=path.stem, given=given, time=time)
    serve(
        calibration_app(desk), host=host, port=port, open_browser=browser, purpose="The calibration page",
        announce=lambda url: typer.echo(f"calibration page: {url}   (Ctrl-C ends it)"),
    )  # fmt: skip
    typer.echo(f"written: {desk.saved}" if desk.saved else "nothing was written")


def print_report(calibration: CameraCalibration, report: CalibrationReport) -> None:
    """Errors, scale, camera and warnings, for a person."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    px, meters = report.error_px, report.error_m
    if len(px) == 4:
        console.print(
            "[bold]4 points[/]: they fix the plane exactly, so their own error cannot show; a fifth tells"
        )
    else:
        console.print(
            f"[bold]{len(px)} points[/]: reprojection error mean {px.mean():.2f} px, worst {px.max():.2f} px "
            f"(point {int(px.argmax()) + 1}); mean {meters.mean():.3f} m, worst {meters.max():.3f} m"
        )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("region", "pixel", "meters x, y", "m/pixel along", "across", "speeds +-"):
        table.add_column(title, justify="left" if title == "region" else "right")
    for s in report.scales:
        table.add_row(
            s.place, f"{s.pixel[0]:.0f}, {s.pixel[1]:.0f}", f"{s.meter[0]:.1f}, {s.meter[1]:.1f}",
            f"{s.along:.3f}", f"{s.across:.3f}", f"{100 * s.error:.1f} %",
        )  # fmt: skip
    console.print(table)
    console.print(
        "speeds +-: one standard error, from 2 pixels at every click; a wrong tape measure comes on top"
    )
    if report.camera:
        c = report.camera
        console.print(
            f"camera seen from this: {c.height_m:.1f} m above the road, {c.pitch_deg:.0f} degrees down, "
            f"{c.width_deg:.0f} degrees wide (focal length {c.focal_px:.0f} px). Does it stand there?"
        )
    for row in report.outliers:
        console.print(
            f"[bold red]outlier:[/] point {row + 1}, {px[row]:.1f} px ({meters[row]:.2f} m) off the fit"
        )
    for words in report.warnings:
        console.print(f"[yellow]warning:[/] {escape(words)}")
