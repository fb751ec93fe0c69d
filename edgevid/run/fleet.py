"""Many cameras on one machine: each with a pipeline, zones and sinks of its own, on engines that all of them share."""

from __future__ import annotations

import signal
import threading
import time as clock
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from edgevid.errors import EdgevidError, InputError, log
from edgevid.files.toml import read_toml
from edgevid.output.recordings import DATABASE
from edgevid.output.tables import SqliteSink
from edgevid.run.engines import SharedEngines, Turns
from edgevid.run.loop import Emitter, Summary, run, said
from edgevid.run.watchdog import Watchdog, ended_by_sigterm, handled, peak_memory_mb
from edgevid.runtime.processor import default_threads
from edgevid.site.build import LoadedSite, build_blur, build_header, build_pipeline, build_zones, header_of, load_site
from edgevid.site.file import Site, camera_name, read_site
from edgevid.site.tables import DatasetTable, TextTable, build_sinks
from edgevid.types import Closing, Event, Frame, Result
from edgevid.video.open import is_live, open_video, source_options

LOOK_S = 2.0  # Between two looks at the site files
WAITS_S = (1.0, 60.0)  # The first and the longest wait after an error; each wait is twice the one before
STEADY_S = 60.0  # After a run of this length the first wait is taken again
EVENTS = 50  # The latest events of each camera that stay in memory
RATE_S = 10.0  # Seconds over which the frame rate is taken


class CameraStatus(NamedTuple):
    """What a camera of a fleet does now."""

    name: str
    state: str  # starting, waiting (for its stream), running, failed, ended or stopped
    detail: str  # Why it waits, or has failed
    fps: float
    frames: int  # Processed since it was started last
    dropped: int
    lag_s: float  # Age of the newest frame when it was taken
    objects: int
    failures: int  # How often it ended with an error


class Camera:
    """One camera of a fleet, in a thread of its own: it is built from its site, runs, and after an error of a live
    source starts again. `loaded`, `source`, `pipeline`, `zones` and `summary` are those of its latest run."""

    def __init__(self, fleet: Fleet, name: str, given: Site | Path, after: Camera | None = None) -> None:
        """`after` is the camera in whose place it comes: that one's outputs are finished before."""
        self.name, self.given, self._fleet, self._after = name, given, fleet, after
        self.loaded, self.summary = LoadedSite(given if isinstance(given, Site) else Site()), Summary()
        self.source: Any = None
        self.pipeline: Any = None
        self.zones: Any = None
        self.state, self.detail, self.failures = "starting", "", 0
        self._shown: Any = None
        self._results: deque[float] = deque(maxlen=256)  # When the latest came
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"edgevid-{name}", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends it; returns when its outputs are finished."""
        self._stop.set()
        if getattr(self.source, "live", False):
            self.source.close()
        self._thread.join()

    def status(self) -> CameraStatus:
        """What it does now."""
        source, state, detail, now = self.source, self.state, self.detail, clock.monotonic()
        if state == "running" and getattr(source, "waiting", False) and source.now() - source.newest_at > 2:
            state, detail = "waiting", "".join(event.detail or event.kind for event in source.events[-1:])
        times = [time for time in list(self._results) if time > now - RATE_S]
        return CameraStatus(self.name, state, detail, (len(times) - 1) / (now - times[0]) if len(times) > 1 else 0.0,
                            self.summary.frames, getattr(source, "dropped", 0), getattr(source, "lag_s", 0.0),
                            self.summary.objects().total(), self.failures)  # fmt: skip

    def report(self, error: Exception, what: str) -> None:
        """Reports an error on the log and as an event; `what` becomes of the camera."""
        log.error("%s: %s; %s", self.name, said(error), what)
        site, sinks = self.loaded.site, list[Any]()
        tables = [one for one in site.sinks if not isinstance(one, (TextTable, DatasetTable))]
        with suppress(Exception):  # what failed may be one of them
            sinks += [sink for sink in self._fleet.sinks(self) if hasattr(sink, "send")]
            sinks += build_sinks(tables)
        header = header_of(None, site.source, camera=self.name)
        with suppress(Exception), Emitter(None, header, sinks, Summary(), self._add_event, None) as emitter:
            emitter.report("camera-failed", said(error))

    def _work(self) -> None:
        if self._after is not None:
            self._after.stop()
        self._after, wait_s = None, 0.0
        while not self._stop.is_set():
            begun = clock.monotonic()
            try:
                self._run()
                self.state = "stopped" if self._stop.is_set() else "ended"
                return
            except Exception as error:
                steady = not wait_s or clock.monotonic() - begun > STEADY_S
                wait_s = WAITS_S[0] if steady else min(2 * wait_s, WAITS_S[1])
                self.state, self.detail, self.failures = "failed", said(error), self.failures + 1
                again = is_live(self.loaded.site.source)  # a recording is not read twice
                self.report(error, f"it starts again in {wait_s:.0f} s" if again else "it has ended")
            if not again or self._stop.wait(wait_s):
                return

    def _run(self) -> None:
        """One run, from its site to the end of its source."""
        fleet, self.state, self.summary = self._fleet, "starting", Summary(events=deque(maxlen=EVENTS))
        site = self.given if isinstance(self.given, Site) else read_site(self.given)
        site = replace(site, name=self.name, **fleet.changes)
        self.loaded = LoadedSite(site)  # what is known of it, where its files cannot be read
        self.loaded = load_site(site)
        recorder = site.recorder()
        with ExitStack() as stack:
            if recorder is not None:
                stack.callback(recorder.close)
            reading: Any = {**fleet.reading, "packets": recorder.tap if recorder and not site.blur else None}
            options = source_options(site.source, **reading)
            self.source = source = stack.enter_context(open_video(site.source, **options))
            self.state, self.detail = "running", ""
            if self._stop.is_set() or (source.live and not source.wait()):  # type: ignore[attr-defined]
                return
            engines, turns = fleet.engines, fleet.turns
            self.pipeline = build_pipeline(self.loaded, source.size, threads=fleet.threads, load=engines.load)
            turns.most = max(turns.most, 2 * engines.batch())  # while one batch runs, the next one is made
            self.zones = build_zones(self.loaded, source.size)
            sinks = [*build_blur(site, self.pipeline), *build_sinks(site.sinks), *fleet.sinks(self)]
            if recorder is not None:
                sinks += [SqliteSink(recorder.path / DATABASE), recorder]
            self._shown = fleet.view(self)
            if self._shown is not None:
                stack.callback(self._shown.close)
            run(self.pipeline, self._frames(), sinks, zones=self._shown or self.zones, size=source.size,
                max_frames=fleet.max_frames, on_result=self._add_result, on_event=self._add_event, source=source,
                summary=self.summary, isolate=True, speed_limit_kmh=site.speed_limit_kmh,
                header=build_header(self.loaded, self.pipeline), monitors=self.loaded.drift_monitors())  # fmt: skip
            for note in self.summary.notes:
                log.info("%s: %s", self.name, note)

    def _frames(self) -> Iterator[Frame]:
        """The frames of the source, each in a turn: of a live one the newest then; of a file, which this thread decodes
        before its turn, every one."""
        turn = partial(self._fleet.turns.turn, self.name, self._fleet.weights.get(self.name, 1.0))
        if hasattr(self.source, "take"):
            while self.source.ready():
                with turn():
                    yield self.source.take()
            return
        for frame in self.source:
            if self._stop.is_set():
                return
            with turn():
                yield frame

    def _add_result(self, frame: Frame, result: Result) -> None:
        self._results.append(clock.monotonic())
        if self._shown is not None:
            self._shown.observe(frame, result)
        self._fleet.on_result(self, frame, result)

    def _add_event(self, event: Event) -> None:
        if self._shown is not None:
            self._shown.add_event(event)
        self._fleet.on_event(event)


class Fleet(Closing):
    """Runs many cameras in one process: `Fleet(["gate.toml", "dock.toml"]).run()`."""

    def __init__(self, sites: Iterable[Site | str | Path] | str | Path, *, workers: int | None = None,
                 threads: int | None = None, weights: Mapping[str, float] | None = None, max_frames: int | None = None,
                 sinks: Callable[[Camera], Iterable[Any]] = lambda camera: (),
                 on_result: Callable[[Camera, Frame, Result], Any] = lambda camera, frame, result: None,
                 on_event: Callable[[Event], Any] = lambda event: None, changes: Mapping[str, Any] | None = None,
                 reading: Mapping[str, Any] | None = None) -> None:  # fmt: skip
        """`sites` are Sites, site files, and folders of site files. `workers` frames are in work at once, each on
        `threads` CPU threads; the defaults share out the cores. In overload a camera gets results in proportion to its
        weight in `weights`, by name (1 where it has none), and each ends after `max_frames`.

        `sinks` makes further sinks of a camera. `on_result` and `on_event` are called in the cameras' threads.
        `changes` are keys of Site that replace those of every site, `reading` options of `source_options`. InputError
        where there is no site."""
        self.sites = [sites] if isinstance(sites, (str, Path)) else list(sites)  # Changes take effect at `reload`
        self.weights, self.max_frames = dict(weights or {}), max_frames
        self.changes, self.reading = dict(changes or {}), dict(reading or {})
        self.sinks, self.on_result, self.on_event = sinks, on_result, on_event
        self.view: Callable[[Camera], Any] = lambda camera: None  # Makes what shows a run (a ViewerState), or None
        if not (count := len(self._wanted())):
            raise InputError(f"a fleet: expected site files, or a folder with some, got {[*map(str, self.sites)]}")
        self.threads = threads or max(1, default_threads() // count)
        self.turns = Turns(workers or default_threads() // self.threads + 2)  # two more: turns wait, too
        self.engines = SharedEngines(self.turns.working)
        self._known: dict[str, tuple[Any, Camera | None]] = {}
        self._ending: list[threading.Thread] = []
        self._lock, self._hung_up, self._closed = threading.RLock(), threading.Event(), False

    @property
    def cameras(self) -> list[Camera]:
        """The cameras, by name."""
        return sorted((one for _, one in list(self._known.values()) if one is not None), key=lambda camera: camera.name)

    @property
    def frames(self) -> int:
        """How many frames the latest runs of the cameras have processed."""
        return sum(camera.summary.frames for camera in self.cameras)

    @property
    def waiting(self) -> bool:
        """Whether no camera is running: each waits for its stream, has failed or has ended."""
        return all(camera.status().state != "running" for camera in self.cameras)

    def run(self, *, status_s: float = 0.0) -> dict[str, Summary]:
        """Runs until every camera has ended, or to Ctrl-C or SIGTERM; their summaries by name. Folders are watched: a
        file that is added, changed or removed starts, restarts or ends its camera alone; SIGHUP looks at once.
        `status_s` is the time between two status lines on the log, 0 for none."""
        with ExitStack() as stack:
            stack.callback(self.close)
            stack.enter_context(handled(lambda *_: self._hung_up.set(), signal.SIGHUP))
            stack.enter_context(ended_by_sigterm())
            stack.enter_context(Watchdog(self, self, every_s=status_s))
            looked = -LOOK_S
            with suppress(KeyboardInterrupt):
                while not (self._closed or (self.cameras and all(camera.over for camera in self.cameras))):
                    if self._hung_up.wait(0.1) or clock.monotonic() - looked > LOOK_S:
                        self._hung_up.clear()
                        self.reload()
                        looked = clock.monotonic()
        return {camera.name: camera.summary for camera in self.cameras}

    def reload(self) -> None:
        """Starts the cameras of sites that are new, ends those of sites that are gone, and restarts those of files that
        have changed; the others go on."""
        with self._lock:
            wanted = {} if self._closed else self._wanted()
            for key in self._known.keys() - wanted.keys():
                self._end(self._known.pop(key)[1])
            for key, (given, stamp) in wanted.items():
                before, camera = self._known.get(key, (None, None))
                if stamp != before:
                    self._known[key] = stamp, self._changed(given, camera)

    def line(self) -> str:
        """The status of the fleet in one line."""
        rows = [camera.status() for camera in self.cameras]
        states = ", ".join(f"{n} {state}" for state, n in Counter(row.state for row in rows).most_common())
        rates = sorted((row.fps, row.name) for row in rows if row.state == "running")
        line = f"{len(rows)} cameras: {states}; {sum(fps for fps, _ in rates):.1f} fps in all"
        if len(rates) > 1:
            line += f", {rates[0][0]:.1f} ({rates[0][1]}) to {rates[-1][0]:.1f} ({rates[-1][1]})"
        line += f"; dropped {sum(row.dropped for row in rows)}; memory up to {peak_memory_mb():.0f} MB"
        return "; ".join([line, *(f"{row.name} {row.state}: {row.detail}" for row in rows if row.detail)])

    def close(self) -> None:
        """Ends every camera; their outputs are finished when it returns."""
        with self._lock:
            self._closed = True
            for camera in self.cameras:
                self._end(camera)
        for thread in self._ending:
            thread.join()

    def _end(self, camera: Camera | None) -> None:
        if camera is not None:  # its stream may take seconds to end
            self._ending = [one for one in self._ending if one.is_alive()]
            self._ending.append(threading.Thread(target=camera.stop, daemon=True))
            self._ending[-1].start()

    def _wanted(self) -> dict[str, tuple[Site | Path, Any]]:
        """Each site or file by its key, with what differs once it has changed."""
        found: dict[str, tuple[Site | Path, Any]] = {}
        for one in self.sites:
            if isinstance(one, Site):
                found[one.name or camera_name(one.source)] = one, one
                continue
            for path in sorted(Path(one).glob("*.toml")) if Path(one).is_dir() else [Path(one)]:
                with suppress(FileNotFoundError):
                    found[str(path)] = path, (path.stat().st_mtime_ns, path.stat().st_size)
        return found

    def _changed(self, given: Site | Path, camera: Camera | None) -> Camera | None:
        """The camera of a site that is new or has changed; None for a file of something else, such as a calibration."""
        try:
            in_folder = isinstance(given, Path) and str(given) not in map(str, self.sites)
            if in_folder and "source" not in read_toml(str(given)):
                return None
            site = given if isinstance(given, Site) else read_site(given)
            name = site.name or camera_name(site.source)
        except EdgevidError as error:
            if camera is not None and not camera.over:
                camera.report(error, "it runs as before")
                return camera
            name = given.stem if isinstance(given, Path) else ""
        while any(other.name == name for other in self.cameras if other is not camera):
            log.warning("%s: another camera has the name %r; it becomes %r", given, name, f"{name}-2")
            name += "-2"
        return Camera(self, name, given, after=camera)
