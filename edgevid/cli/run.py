"""`edgevid run`: a source through the pipeline, into a video, JSON lines, CSV or MOT text; of several site files, or of
a folder of them, a fleet in one process."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import time as clock
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from edgevid.cli import options as shared
from edgevid.cli.console import advance, is_quiet, is_stdout, log_shown, print_rows, progress_bar, results
from edgevid.cli.options import exported
from edgevid.cli.report import moment
from edgevid.cli.run_outputs import Outputs, common_sinks, print_summary
from edgevid.errors import InputError, check_choice, log, masked

if TYPE_CHECKING:
    from edgevid.run.fleet import Camera
    from edgevid.site.file import RecognizerChoice, Site
    from edgevid.viewer.config import View

COMMON = ("site", "weight", "sqlite", "parquet", "metrics", "view", *shared.SERVING, "unit", "model", "device",
          "precision", "threads", "max_frames", "status_s", "give_up_s", "rtsp_transport", "follow_host", "decode",
          "images")  # fmt: skip
"""Options that mean something for many cameras."""
READING = ("give_up_s", "rtsp_transport", "follow_host", "decode", "images")  # Those of `source_options`


def command(**options: Any) -> None:
    """Detect, track and record the objects of a video or camera."""
    given = SimpleNamespace(**options)
    if given.view is None and (lone := [name for name in shared.SERVING if getattr(given, name)]):
        raise InputError(f"run: --{lone[0].replace('_', '-')} is an option of --view: expected it, too")
    shown = view_of(given, given.view) if given.view else None
    if len(given.site) > 1 or any(site.is_dir() for site in given.site):
        start_fleet(given, shown)
        return
    given.site = given.site[0] if given.site else None
    start_run(given, shown)


SITE_KEYS = shared.give_options(command, Path(__file__).with_suffix(".toml"))


def view_of(given: Any, address: str) -> View:
    """The viewer at an address."""
    from edgevid.output.metrics import address_of
    from edgevid.viewer.config import View

    host, port = address_of(address, "--view: expected an address such as 127.0.0.1:8080")
    return View({"host": host, "port": port, **shared.serving(given)})


def start_run(given: Any, view: View | None = None, *, defaults: Site | None = None, street: Any = None,
              more: Any = ()) -> None:  # fmt: skip
    """Checks the options `given`, those of `command`, and runs. `defaults` are those of a site without a file;
    `street` is a rendered one, to run instead; `more` are further sinks."""
    from edgevid.video.writer import check_codec

    given.source = shared.one_source(given.source, given.source_option)
    imgsz = shared.parse_size(given.imgsz, "--imgsz") if given.imgsz else None
    check_choice(given.damaged, ("coast", "skip", "show"), "--damaged")
    damaged = "show" if given.damaged == "show" else "coast"  # skipped frames do not reach the pipeline
    built = {"threads": given.threads, "imgsz": imgsz, "damaged": damaged}
    outputs = Outputs(given, more)
    outputs.check(given.source, given.site, given.calibration, given.model, given.actions, given.policy)
    given.start = moment("--start", given.start)
    given.blur, given.classes = (shared.split_names(getattr(given, key), f"--{key}") for key in ("blur", "classes"))
    shared.choose_method(given)
    shared.check_unit(given.unit)
    check_codec(given.codec)
    path = given.site if given.site and (given.site.exists() or not (view and given.source)) else None
    site = _site(path, defaults, given)
    if street is None:
        shared.check_source(site.source, "edgevid run gate.mp4 --jsonl gate.jsonl")
    site = dataclasses.replace(site, model=exported(site.model, site.source), record=_recorded(site.record, given),
                               track=site.track.replaced(given.tracker, given.track))  # fmt: skip
    _check_options(site, given)
    outputs.check(site.source, site.calibration, site.model)
    outputs.open(site)
    _run(site, outputs, built, view, street)


def _recorded(own: Any, given: Any) -> Any:
    """What --record makes of a site's `own` table [record]."""
    from edgevid.site.tables import RecordTable

    if given.record is None:
        if given.record_events or given.record_gb or given.record_days:
            raise InputError("run: --record-events, --record-gb and --record-days need --record FOLDER")
        return own
    options = {"folder": given.record, "max_gb": given.record_gb, "keep_days": given.record_days}
    options = {key: value for key, value in options.items() if value} | {"continuous": not given.record_events}
    return dataclasses.replace(own or RecordTable(folder=given.record), **options)


def _check_options(site: Site, given: Any) -> None:
    """InputError where an option of the outputs lacks what it acts on."""
    if given.max_disk_gb and given.segment_s is None:
        raise InputError("run: --max-disk-gb deletes segments: give --segment-s too, such as --segment-s 600")
    if given.segment_s is not None and not (given.out or given.jsonl or given.csv or given.mot):
        raise InputError("run: --segment-s splits outputs: give --out, --jsonl, --csv or --mot too")
    if given.smooth_tracks and (not given.jsonl or given.segment_s or is_stdout(given.jsonl)):
        raise InputError("run: --smooth-tracks completes a record: give --jsonl FILE, without --segment-s")
    if (given.audit or given.save_below) and not given.save_abstained:
        raise InputError("run: --audit and --save-below are those of --save-abstained: give it, too")
    if given.save_abstained and not (site.recognizers or site.policy):
        raise InputError("run: --save-abstained saves abstained verdicts: give --actions or --recognize too, or a "
                         "--site with a policy or [[recognize]]")  # fmt: skip


def _site(path: Path | None, defaults: Site | None, given: Any) -> Site:
    """The site of a file, or of defaults, with the command line's options instead of its own."""
    from edgevid.site.file import Site, read_site

    site = read_site(path) if path else defaults or Site()
    options = {key: getattr(given, option) for option, key in SITE_KEYS.items()}
    options |= {"recognizers": _recognizers(given), "lines": site.lines + shared.parse_lines(given.line)}
    return dataclasses.replace(site, **{key: value for key, value in options.items() if value})


def _recognizers(given: Any) -> tuple[RecognizerChoice, ...]:
    """The recognizers of --actions and --recognize."""
    from edgevid.site.file import RecognizerChoice

    texts = [*([f"action={given.actions}"] if given.actions else []), *given.recognize]
    if given.policy and len(texts) != 1:
        raise InputError("run: --policy is that of one --actions or --recognize; name more of them in the site file")
    tasks = dict(text.partition("=")[::2] for text in texts)
    if len(tasks) < len(texts) or not all(tasks.values()):
        got = ", ".join(texts)
        raise InputError(f"--recognize: expected TASK=RECIPE, another task in each, such as emotion=RECIPE, got {got}")
    parts = ((task, text.partition("@")) for task, text in tasks.items())
    return tuple(RecognizerChoice(task, model, given.policy, inside) for task, (model, _, inside) in parts)


def _run(site: Site, outputs: Outputs, built: Any, view: View | None, street: Any) -> None:
    """The run itself, then its summary; `built` are options of the models."""
    from edgevid.output.gaps import fill_gaps
    from edgevid.run.loop import Summary, run
    from edgevid.run.watchdog import Watchdog
    from edgevid.site.build import build_blur, build_header, load_site
    from edgevid.site.check import check_zones
    from edgevid.video.open import open_video, source_options
    from edgevid.viewer.config import build_config, build_street
    from edgevid.viewer.serve import wait_for_stop

    given, loaded, summary, started, ended = outputs.given, load_site(site), Summary(), clock.perf_counter(), 0.0
    source, state, recorder = site.source, None, site.recorder(unit=given.unit)
    reading: Any = {name: getattr(given, name) for name in READING}
    reading["packets"] = recorder.tap if recorder and not site.blur else None  # of pixels that may be kept

    def opened() -> Any:
        return street or open_video(source, **source_options(source, **reading))

    with ExitStack() as stack:
        video = stack.enter_context(opened())
        bar = stack.enter_context(progress_bar(masked(source), given.max_frames or video.frame_count))
        stack.enter_context(log_shown(bar.console, default=logging.INFO))
        stack.enter_context(Watchdog(video, summary, every_s=given.status_s if video.live else 0.0))
        if video.live:
            video.wait()  # zones and calibrations need the image's size
        config = build_street(street) if street else build_config(loaded, video, opened, **built)
        for one in () if street else check_zones(loaded, video.size):
            if one.ok is False:
                log.warning("%s %s; %s", one.subject, one.state, one.remedy)
        stack.enter_context(suppress(KeyboardInterrupt))  # before the first frame it ends with a summary, too
        if view:
            state = stack.enter_context(_shown(config, view, recorder, outputs, bar.console))

        def note(frame: Any, result: Any) -> None:
            advance(bar)
            if state is not None:
                state.observe(frame, result)

        run(config.pipeline, state.source if state else video,
            [*build_blur(site, config.pipeline), *outputs.sinks(config, video, summary, recorder)],
            zones=state or config.monitor, size=video.size, max_frames=given.max_frames, on_result=note,
            on_event=state.add_event if state else None, summary=summary, skip_damaged=given.damaged == "skip",
            speed_limit_kmh=config.speed_limit_kmh, header=build_header(loaded, config.pipeline, start=given.start),
            monitors=loaded.drift_monitors())  # fmt: skip
        ended = clock.perf_counter()
        if view and given.max_frames is None and not summary.interrupted:
            wait_for_stop()  # the page stays, with the last frame, until Ctrl-C
    summary.interrupted |= not ended
    seconds = (ended or clock.perf_counter()) - started
    notes = _notes(video, summary, config.pipeline.health) + (recorder.notes() if recorder else [])
    if given.smooth_tracks:
        notes.append(f"boxes set between two detections: {fill_gaps(given.jsonl, given.smooth_tracks)}")
    print_summary(summary, config.pipeline.names["class"], seconds=seconds, written=outputs.written(),
                  notes=[*config.notes, *notes, *summary.notes], off=() if config.calibration else ("speed",),
                  stderr=outputs.to_stdout)  # fmt: skip


def _shown(config: Any, view: View, recorder: Any, outputs: Outputs, console: Any) -> Any:
    """The viewer of a run, whose address is printed where no records go."""
    from edgevid.viewer.config import viewing

    given = outputs.given

    def announce(url: str) -> None:
        where = f"[bold]{escape(config.title)}[/] at [cyan]{escape(url)}[/]   (Ctrl-C stops it)"
        (console if outputs.to_stdout else results()).print(where)

    return viewing(config, view, announce=announce, site_file=given.site, recorder=recorder, unit=given.unit,
                   review=given.save_abstained)  # fmt: skip


def _notes(video: Any, summary: Any, health: Any) -> list[str]:
    """What happened to the frames and to the camera."""
    counts = {"frames that needed no detection": summary.gated, "damaged frames": summary.damaged,
              "packets or images that could not be decoded": video.corrupted, "frames dropped": video.dropped,
              "reconnections": getattr(video, "reconnections", 0), "changes of size": summary.size_changes}  # fmt: skip
    found = [f"{count} {what}" for what, count in counts.items() if count]
    found += getattr(video, "notes", list)()
    return found + [f"camera health: {event}" for event in getattr(health, "events", ())]


def start_fleet(given: Any, view: View | None) -> None:
    """Checks the options `given`, those of `command`, and runs a fleet."""
    from edgevid.output.metrics import Metrics
    from edgevid.run.fleet import Fleet

    for name, one in inspect.signature(command).parameters.items():
        if name not in COMMON and getattr(given, name) != one.default:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"run: {option} is of one camera: expected it in the site file of each (docs/site.md)")
    if missing := [site for site in given.site if not site.exists()]:
        raise InputError(f"--site: expected site files, or a folder of them, got {missing[0]}, which does not exist")
    changes = {key: getattr(given, key) for key in ("model", "device", "precision") if getattr(given, key)}
    reading = {key: getattr(given, key) for key in READING}
    started = clock.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(log_shown(default=logging.INFO))
        page = stack.enter_context(Metrics(given.metrics)) if given.metrics else None

        def sinks(camera: Camera) -> list[Any]:
            served = [Metrics("", camera.source, camera.summary, page)] if page is not None else []
            return common_sinks(camera.loaded.site, given) + served

        fleet = Fleet(given.site, threads=given.threads, weights=_weights(given.weight), max_frames=given.max_frames,
                      changes=changes, reading=reading, sinks=sinks)  # fmt: skip
        if view is not None:
            from edgevid.viewer.wall import wall

            where = stack.enter_context(wall(fleet, view, unit=given.unit))
            results().print(f"[bold]all cameras[/] at [cyan]{escape(where)}[/]   (Ctrl-C stops them)")
        fleet.run(status_s=given.status_s)
    _print_cameras(fleet.cameras, clock.perf_counter() - started)
    if failed := [camera for camera in fleet.cameras if camera.state == "failed"]:
        raise InputError("; ".join(f"{camera.name}: {camera.detail}" for camera in failed))


def _weights(texts: list[str]) -> dict[str, float]:
    """The weights of --weight NAME=NUMBER."""
    found = dict(text.rpartition("=")[::2] for text in texts)
    if not all(name and number.replace(".", "", 1).isdecimal() and float(number) for name, number in found.items()):
        raise InputError(f"--weight: expected NAME=NUMBER, such as gate=2, got {', '.join(texts)}")
    return {name: float(number) for name, number in found.items()}


def _print_cameras(cameras: list[Camera], seconds: float) -> None:
    """A row for each camera."""
    if is_quiet():
        return
    rows = []
    for one in cameras:
        status, events = one.status(), sum(one.summary.event_counts.values())
        counts = (status.frames, status.dropped, status.objects, events, status.failures)
        rows.append((one.name, status.state, *map(str, counts)))
    heads = ("camera", "state", "frames", "dropped", "objects", "events", "failures")
    print_rows(results(soft_wrap=False), heads, rows, text=("state",), title=f"{seconds:.1f} s")
