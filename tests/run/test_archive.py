"""An archive: one result for each video, the same however it was made, and continued where it stopped."""

from __future__ import annotations

import json
import os
import sys
import time as clock
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from edgevid.errors import InputError, SourceError
from edgevid.run import archive
from edgevid.run.archive import Job, find_videos, local_processes, open_jobs, process, run_jobs
from edgevid.site.file import Site
from edgevid.synthetic.render import RenderedStreet
from edgevid.video.writer import VideoWriter
from edgevid.zones import Line

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
SITE = Site(model="street-nano", lines=(Line("all", (0.0, 0.6), (1.0, 0.6), relative=True),))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 seconds of a street, with a key frame each second."""
    path = tmp_path_factory.mktemp("street") / "gate_20260131_120000.mp4"
    with VideoWriter(path, fps=10) as video:
        for frame in RenderedStreet(seconds=3.0, fps=10):
            video.write(frame.image[::2, ::2].copy(), frame.time)
    return path


def here(job: Job) -> Future[Any]:
    """Does a job at once, in this process."""
    future: Future[Any] = Future()
    future.set_result(process(job))
    return future


def made(videos: list[Path], out: Path, submit: Any = here, **options: Any) -> list[dict[str, Any]]:
    """The rows that a run gives."""
    return [row for row in run_jobs(open_jobs(SITE, videos, out, **options)[0], out, submit, 2) if row]


def index(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]


def contents(out: Path) -> dict[str, bytes]:
    """The bytes of each file of the results."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_videos_are_found(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.MKV", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("b.mp4\n\n../gone.mp4\n")
    one, two = tmp_path / "a/c.MKV", tmp_path / "b.mp4"
    assert find_videos(tmp_path) == [one, two]
    assert find_videos(f"{tmp_path}/*.mp4") == find_videos(two) == [two]
    assert find_videos(tmp_path / "a/notes.txt") == [tmp_path / "a/b.mp4", tmp_path / "gone.mp4"]
    with pytest.raises(InputError, match="found none"):
        find_videos(tmp_path / "*.avi")


def test_each_video_once_and_failures_with_their_reason(street: Path, tmp_path: Path) -> None:
    out, bad = tmp_path / "out", tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    good, failed = sorted(made([street, bad], out), key=lambda row: row["error"])
    assert (good["frames"], good["seconds"], good["error"]) == (30, 3.0, "")
    assert good["objects"] > 0
    assert "FFmpeg cannot read" in failed["error"]
    names = [f"{kind}-{good['name']}.parquet" for kind in ("events", "objects", "tracks")]
    assert sorted(os.listdir(out / good["name"])) == [*names, "video.json"]
    assert os.listdir(out / failed["name"]) == ["video.json"]
    assert sorted(map(str, index(out))) == sorted(map(str, (good, failed)))
    before = contents(out)
    assert made([street, bad], out) == []
    assert open_jobs(SITE, [bad, street], out)[1] == [failed, good]
    assert [row["name"] for row in made([street, bad], out, retry_failed=True)] == [failed["name"]]
    assert contents(out) == before
    bad.write_bytes(street.read_bytes())
    assert [row["frames"] for row in made([street, bad], out)] == [30]


def test_the_tables(street: Path, tmp_path: Path) -> None:
    from pyarrow.parquet import read_table

    (row,) = made([street], tmp_path)
    tables = (tmp_path / row["name"] / f"{kind}-{row['name']}.parquet" for kind in ("tracks", "objects", "events"))
    tracks, objects, events = (read_table(table).to_pylist() for table in tables)
    assert {one["run"] for one in tracks} == {row["name"]}
    assert row["objects"] == len(tracks) == len({one["tracker_id"] for one in objects})
    assert {one["utc"][:10] for one in objects} == {"2026-01-31"}
    assert min(one["utc"] for one in objects) < "2026-01-31T12:00:00.400Z"
    assert row["events"] == len(events)


def test_the_result_that_was_first_stays(street: Path, tmp_path: Path) -> None:
    ((job,), _) = open_jobs(SITE, [street], tmp_path)
    process(job)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert process(job)["frames"] == 30
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_cut_video_has_the_results_of_the_whole(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made([street], tmp_path / "whole")
    frames: list[int] = []
    built = archive.build_pipeline

    def counted(*args: Any, **options: Any) -> Any:
        pipeline = built(*args, **options)
        detect = pipeline.detector.detect
        pipeline.detector.detect = lambda some: frames.append(some[0].index) or detect(some)  # type: ignore[method-assign]
        return pipeline

    monkeypatch.setattr(archive, "build_pipeline", counted)
    assert made([street], tmp_path / "cut", chunk_s=0.9) == whole
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert frames == []  # the pass over the whole video took all detections from the chunks

    def one_chunk_fails(job: Job) -> Future[Any]:
        if job.chunk == 1:
            future: Future[Any] = Future()
            future.set_result({})
            return future
        return here(job)

    assert made([street], tmp_path / "lost", one_chunk_fails, chunk_s=0.9) == whole
    assert contents(tmp_path / "lost") == contents(tmp_path / "whole")
    assert frames == list(range(9, 18))


def test_a_job_whose_process_ends_each_time_has_failed(street: Path, tmp_path: Path) -> None:
    future: Future[Any] = Future()
    future.set_exception(BrokenProcessPool("ended"))
    (row,) = made([street], tmp_path, lambda _: future)
    assert row["error"] == "BrokenProcessPool in 3 attempts"
    assert os.listdir(tmp_path / row["name"]) == ["video.json"]


def test_a_folder_that_cannot_be_written_ends_the_run(street: Path, tmp_path: Path) -> None:
    future: Future[Any] = Future()
    future.set_exception(SourceError("disk full"))
    with pytest.raises(SourceError, match="disk full"):
        made([street], tmp_path, lambda _: future)


def test_a_folder_has_the_results_of_one_site(street: Path, tmp_path: Path) -> None:
    made([street], tmp_path)
    with pytest.raises(InputError, match="another site, model"):
        open_jobs(Site(model="street-nano", score=0.3), [street], tmp_path)


def test_a_run_that_is_stopped_has_an_index_and_goes_on(street: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(street.read_bytes())
    rows = run_jobs(open_jobs(SITE, [street, other], tmp_path / "out")[0], tmp_path / "out", here, 1)
    first = next(rows)
    rows.close()
    assert index(tmp_path / "out") == [first]
    second = made([street, other], tmp_path / "out")
    assert {first["video"], second[0]["video"]} == {str(street), str(other)}


def ends_once(path: Path) -> str:
    """Ends its process at the first call."""
    if not path.exists():
        path.touch()
        os._exit(3)
    return "second"


def test_a_process_that_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "process", ends_once)
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])  # the process finds this module
    with local_processes(1) as submit:  # two processes start, each of which imports this module
        assert submit(tmp_path / "called").result(240) == "second"  # type: ignore[arg-type]


def test_processes_end_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "process", clock.sleep)
    before = active_children()
    with local_processes(1) as submit:
        future: Any = submit(1000)  # type: ignore[arg-type]
        while not (children := [child for child in active_children() if child not in before]):
            clock.sleep(0.01)
    until = clock.monotonic() + 240  # a process ends when it has started, which a busy machine takes minutes for
    with pytest.raises(BrokenProcessPool):
        future.result(240)
    # Also while the pool's own thread waits for them, where `join` returns at once.
    while any(child.is_alive() for child in children) and clock.monotonic() < until:
        clock.sleep(0.01)
    assert not any(child.is_alive() for child in children)
