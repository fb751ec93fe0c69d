"""An archive: every recording through a site's pipeline into a folder of Parquet files, which is complete or absent.

A long video is cut: each chunk is detected on its own, from the key frame before it, and one pass over the whole video
then tracks what was detected. Its tracks, events and ids are therefore those of the video that was not cut."""

import glob
import json
import os
import re
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_BLOCK, SIGINT, pthread_sigmask
from tempfile import TemporaryDirectory
from threading import Thread, local
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np

from edgevid.errors import InputError
from edgevid.files import make_folder, move_into_place, sha256, sha256_of, write_atomic
from edgevid.files.atomic import claim
from edgevid.models.hub import resolve_model
from edgevid.output.records import json_line
from edgevid.output.tables import ParquetSink
from edgevid.run.loop import run, said
from edgevid.runtime.variants import model_digest
from edgevid.site.build import LoadedSite, build_detector, build_header, build_pipeline, build_zones, load_site
from edgevid.site.file import Site
from edgevid.types import Detections, Frame, utc_seconds
from edgevid.video.files import DEFAULT_FPS, VIDEOS, FileSource

ROW, INDEX = "video.json", "index.jsonl"  # A video's row, in its folder, and those of all
ATTEMPTS = 3  # At a job whose process or node ends
STAMP = re.compile(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)[T _-]?(\d\d)[-:.]?(\d\d)[-:.]?(\d\d)")
COLUMNS = ("boxes", "scores", "labels", "keypoints", "rotated")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does in one go: a video, or the detections of a chunk of it."""

    loaded: LoadedSite
    folder: Path  # Of the result
    row: Row  # What is known of the video before
    chunk_s: float
    chunk: int | None = None
    joins: bool = False  # Whether all chunks were tried

    def chunk_file(self, number: int) -> Path:
        """What is detected in one chunk."""
        return self.folder.with_name(f".{self.folder.name}.chunks.part") / f"{number}.json"


def find_videos(source: str | Path) -> list[Path]:
    """The videos in a folder, of a glob, or of a text file with a path a line; InputError where there is none."""
    path = Path(source)
    if path.is_file() and path.suffix.lower() not in VIDEOS:
        found = [path.parent / line.strip() for line in path.read_text().splitlines() if line.strip()]
    elif path.is_dir():
        found = [one for one in path.rglob("*") if one.suffix.lower() in VIDEOS]
    else:
        found = [path] if path.is_file() else [Path(one) for one in glob.glob(str(source), recursive=True)]
    if not found:
        raise InputError(f"{source}: expected a folder, list or glob of videos ({', '.join(VIDEOS)}), found none")
    return sorted({Path(os.path.abspath(one)) for one in found})


def open_jobs(site: Site | str | Path, videos: Sequence[Path], out: Path, *, chunk_s: float = 600.0,
              retry_failed: bool = False) -> tuple[deque[Job], list[Row]]:  # fmt: skip
    """Jobs, and the rows of the videos that need none: those that have a result in the folder `out` and their size of
    then; failed ones too, unless `retry_failed`. Videos longer than 1.5 `chunk_s` seconds are cut. InputError where
    `out` has results of another site; SourceError where it cannot be written."""
    make_folder(out)
    loaded, jobs, rows = load_site(site), deque[Job](), list[Row]()
    plain = replace(loaded.site, source="", sinks=(), record=None, health=None)
    plain = replace(plain, model=plain.model or resolve_model().name)  # that of this machine on every node
    models = [resolve_model(name).local for name in (plain.model, *(one.model for one in plain.recognizers))]
    files = [plain.calibration, plain.policy, *(one.policy for one in plain.recognizers)]
    digests = [model_digest(one) for one in models if one] + [sha256_of(one) for one in files if one]
    settings = sha256(repr((plain, digests)))
    for video in videos:
        name, size = re.sub(r"[^\w.-]+", "-", video.stem), video.stat().st_size if video.is_file() else 0
        folder = Path(os.path.abspath(out)) / f"{name}-{crc32(str(video).encode()):08x}"
        row = _row_of(folder) if folder.exists() else {}
        if row.get("settings", settings) != settings:
            raise InputError(f"{out}: has results of another site, model, calibration or policy; choose another folder")
        if row and row["bytes"] == size and not (retry_failed and row["error"]):
            rows.append(row)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        row = {"name": folder.name, "video": str(video), "bytes": size, "settings": settings}
        jobs.append(Job(replace(loaded, site=plain), folder, row, chunk_s))
    return jobs, rows


def run_jobs(jobs: deque[Job], out: Path, submit: Callable[[Job], Future[Row]], limit: int) -> Iterator[Row]:
    """Does the jobs, `limit` at a time, and writes the index of `out`. Gives the row of each video when its result is
    in place, with an "error" where it failed, and an empty one every second."""
    flying, chunks = dict[Future[Row], Job](), Counter[Path]()
    try:
        while jobs or flying:
            while jobs and len(flying) < limit:
                job = jobs.popleft()
                flying[submit(job)] = job
            for future in wait(flying, 1.0, FIRST_COMPLETED).done:
                job, error = flying.pop(future), future.exception()
                if isinstance(error, OSError):  # the folder cannot be written
                    raise error
                row = process(job, f"{type(error).__name__} in {ATTEMPTS} attempts") if error else future.result()
                if count := row.get("chunks"):
                    chunks[job.folder] = count
                    jobs.extendleft(replace(job, chunk=number) for number in reversed(range(count)))
                elif job.chunk is None:
                    yield row
                else:
                    chunks[job.folder] -= 1
                    jobs.extendleft([] if chunks[job.folder] else [replace(job, chunk=None, joins=True)])
            yield {}
    finally:
        write_atomic(out / INDEX, "".join(json_line(_row_of(one.parent)) for one in sorted(out.glob(f"*/{ROW}"))))


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Makes the folder of the results, which is this program's while the block lasts; InUseError where another one
    writes there."""
    make_folder(out)
    lock = claim(out)
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def local_processes(count: int) -> Iterator[Callable[[Job], Future[Row]]]:
    """Submits jobs to as many processes on this machine; one that ends takes no other job with it. At the end of the
    block they end, whatever they do, as when this process is killed."""
    context, own = get_context("spawn"), local()
    reader, alive = context.Pipe(duplex=False)
    threads = ThreadPoolExecutor(count, initializer=pthread_sigmask, initargs=(SIG_BLOCK, (SIGINT,)))
    """Their processes do not get Ctrl-C, which a terminal sends to all of them: this one ends them."""

    def work(job: Job) -> Row:
        attempts = 0
        while True:
            own.pool = getattr(own, "pool", None) or ProcessPoolExecutor(1, context, _end_with, (reader,))
            try:
                return own.pool.submit(process, job).result()  # type: ignore[no-any-return]
            except BrokenProcessPool:
                own.pool, attempts = None, attempts + 1
                if attempts == ATTEMPTS or alive.closed:
                    raise

    with alive:
        yield lambda job: threads.submit(work, job)


def _end_with(reader: Any) -> None:
    """Ends this process when the other end of a pipe is closed."""
    Thread(target=lambda: (reader.poll(None), os._exit(1)), daemon=True).start()


def process(job: Job, error: str = "") -> Row:
    """The video's row, when its folder is in place; with an "error" where it failed, or is not tried. A long one's
    first has "chunks", their number; where a chunk fails, its video is tried without it."""
    row = job.row | {"seconds": 0.0, "frames": 0, "objects": 0, "events": 0, "error": error}
    with TemporaryDirectory(".part", f".{job.folder.name}.", job.folder.parent) as made:
        tables = Path(made, "tables")
        try:
            row |= {} if error else _attempt(job, tables)
        except Exception as caught:
            shutil.rmtree(tables, ignore_errors=True)
            row["error"] = said(caught)
        if "chunks" in row or job.chunk is not None:
            return row
        write_atomic(tables / ROW, json_line(row))
        if not job.folder.exists():
            move_into_place(tables, job.folder)
    return _row_of(job.folder)


def _row_of(folder: Path) -> Row:
    """The row of a folder that is in place; what was left of its making is deleted."""
    for left in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    return dict(json.loads((folder / ROW).read_text(encoding="utf-8")))


def _attempt(job: Job, tables: Path) -> Row:
    """What becomes known of the video by doing the job."""
    with FileSource(job.row["video"], threads=1) as video:
        seconds = round(video.duration or (video.frame_count or 0) / (video.fps or DEFAULT_FPS), 3)
        gated = job.loaded.site.every is not None  # chunks would detect in every frame
        if job.chunk is not None:
            _detect(job, job.chunk, video)
        elif seconds > 1.5 * job.chunk_s and not (job.joins or gated) and video.seek(0.0):
            return {"chunks": -int(-seconds // job.chunk_s)}
        else:
            return {"seconds": seconds} | _run(job, video, tables)
    return {}


def _run(job: Job, video: FileSource, folder: Path) -> Row:
    """Fills the tables of a whole video, and counts."""
    loaded, start = replace(job.loaded, site=replace(job.loaded.site, source=job.row["video"])), 0.0
    pipeline = build_pipeline(loaded, video.size, threads=1)
    if found := STAMP.search(Path(job.row["video"]).name):
        with suppress(ValueError):
            start = utc_seconds("{}-{}-{}T{}:{}:{}".format(*found.groups()))
    header = replace(build_header(loaded, pipeline, start=start), run=job.folder.name)
    pipeline.detector = _joined(pipeline.detector, job) if job.joins else pipeline.detector
    with ParquetSink(folder, records=True, segment_s=1e9) as tables:  # without a spool: no row is late
        tables.open(header)

        def write(frame: Frame, result: Any) -> None:
            tables.write(frame, result)
            tables.send([])

        summary = run(pipeline, video, [write], zones=build_zones(loaded, video.size), size=video.size, header=header,
                      on_event=lambda event: tables.send([event]),
                      speed_limit_kmh=loaded.site.speed_limit_kmh)  # fmt: skip
    if summary.interrupted:
        raise KeyboardInterrupt
    for path in folder.glob("*.parquet"):
        path.rename(folder / f"{path.name.partition('-')[0]}-{job.folder.name}.parquet")
    return {"frames": summary.frames, "objects": summary.objects().total(), "events": summary.event_counts.total()}


def _detect(job: Job, number: int, video: FileSource) -> None:
    """Writes what is detected in a chunk; but for frames without key points of a model that gives some."""
    begin, file = number * job.chunk_s, job.chunk_file(number)
    if not file.exists() and (number == 0 or video.seek(begin)):
        detector = build_detector(job.loaded.site, threads=1)
        frames = takewhile(lambda frame: frame.time < begin + job.chunk_s, video)
        found = ((_key(f), detector.detect([f])[0]) for f in frames if f.time >= begin and not f.damaged)
        rows = {key: {name: getattr(t, name).tolist() for name in COLUMNS if getattr(t, name).size} for key, t in found
                if len(t) or not t.keypoints.shape[1] + t.rotated.shape[1]}  # fmt: skip
        write_atomic(file, json.dumps(rows))


def _joined(detector: Any, job: Job) -> Any:
    """A detector that gives what the chunks of a video have. Other frames, or those with other pixels, are detected."""
    known: dict[int, dict[str, Row]] = {}  # Of one chunk

    def detect(frames: Sequence[Frame]) -> list[Detections]:
        number = int(frames[0].time / job.chunk_s)
        if number not in known:
            known.clear()
            known[number] = json.loads(file.read_text()) if (file := job.chunk_file(number)).exists() else {}
        row = known[number].get(_key(frames[0]))
        empty: Row = {"boxes": [], "scores": [], "labels": []}
        return detector.detect(frames) if row is None else [Detections.of(**empty | row)]

    return SimpleNamespace(names=detector.names, detect=detect)


def _key(frame: Frame) -> str:
    """A frame's time, and a checksum of its pixels: detections depend on nothing else."""
    return f"{frame.time!r} {[crc32(np.ascontiguousarray(one).data) for one in frame.planes or (frame.image,)]}"
