"""Where the results of `edgevid run` go: its files, and the sinks that fill them."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgevid.errors import InputError, SourceError, masked

if TYPE_CHECKING:
    from edgevid.output.sinks import Sink
    from edgevid.site.file import Site


class Files(NamedTuple):
    """Where the outputs go."""

    out: Path | None
    jsonl: Path | None
    csv: Path | None
    mot: Path | None
    events: Path | None

    def to_stdout(self) -> bool:
        """Whether records go to standard output, where nothing else may be printed then."""
        from edgevid.cli.output_files import is_stdout

        return any(map(is_stdout, self))

    def check(self, inputs: Any, *, segmented: bool, force: bool) -> None:
        """InputError or SourceError where an output must not be written; segments have names of their own."""
        from edgevid.cli.output_files import check_outputs

        if segmented and self.to_stdout():
            raise InputError("run: --segment-s splits files: expected file names, got - (standard output)")
        kinds = zip(
            ("--out", "--jsonl", "--csv", "--mot", "--events"), self,
            ("MP4", "JSON lines", "CSV", "MOT", "events"), strict=True,
        )  # fmt: skip
        outputs = {option: (path, kind) for option, path, kind in kinds}
        check_outputs(outputs, () if segmented else inputs, force=force or segmented)
        for path in self:
            if path and not path.parent.is_dir():
                raise SourceError(f"{path}: the folder {path.parent} does not exist; create it first")


@dataclasses.dataclass
class Outputs:
    """The requested output files."""

    site: Site
    files: Files
    segment_s: float | None
    max_disk_gb: float | None
    unit: str
    scores: bool
    codec: str
    sync_s: float
    metrics: str | None
    start: float | None
    more: list[Any] = dataclasses.field(default_factory=list)
    made: list[Any] = dataclasses.field(default_factory=list)

    def add(self, review: dict[str, Any], sqlite: Path | None, parquet: Path | None, *, show: bool) -> None:
        """Adds the sinks that need no frame to begin: of the site, stores, a window, review."""
        from edgevid.site.tables import StoreTable, build_sinks, event_file

        if self.site.clusters:
            from edgevid.insight.cluster_labels import ClusterLabels

            self.more.append(ClusterLabels(self.site.clusters))
        self.made += build_sinks(self.site.sinks, sync_s=self.sync_s)
        if sqlite:
            self.made += build_sinks([StoreTable("sqlite", sqlite)])
        if parquet:
            self.made += build_sinks([StoreTable("parquet", parquet, records=True)])
        if self.files.events:
            self.made.append(event_file(self.files.events))
        if show:
            from edgevid.cli.display import Window

            self.more.append(Window(self.unit, scores=self.scores))
        if review["folder"]:
            from edgevid.output.review import ReviewSink

            self.more.append(ReviewSink(**review, source=masked(self.site.source)))

    def add_frames(self, folders: dict[Any, Path | None], every_s: float) -> None:
        """Adds the folders of frames with boxes."""
        from edgevid.site.tables import DatasetTable, build_sinks

        self.made += build_sinks(DatasetTable(kind, at, every_s) for kind, at in folders.items() if at)

    def recorder(self) -> Any:
        """The site's recorder, None where nothing is recorded."""
        from edgevid.site.header import camera_name
        from edgevid.video.open import is_live

        site = self.site
        if site.record is None:
            return None
        name = site.name or camera_name(site.source)
        return site.record.recorder(name, live=is_live(site.source), unit=self.unit)

    def sinks(self, config: Any, video: Any, summary: Any, recorder: Any) -> list[Any]:
        """The sinks for the frames of `video`."""
        from edgevid.output.metrics import Metrics
        from edgevid.output.recordings import DATABASE
        from edgevid.output.sinks import CsvSink, JsonLines, MotText
        from edgevid.site.tables import StoreTable, build_sinks

        texts = (partial(kind, sync_s=self.sync_s) for kind in (JsonLines, CsvSink, MotText))
        makers = (lambda path: self._video(path, config, video)), *texts
        files = zip(self.files[:4], makers, strict=True)
        self.made = [self._segmented(p, make) for p, make in files if p] + self.made
        served = [Metrics(self.metrics, video, summary)] if self.metrics else []
        if recorder is not None:
            self.made += [*build_sinks([StoreTable("sqlite", recorder.path / DATABASE)]), recorder]
        return [*self.made, *self.more, *served]

    def written(self) -> list[str]:
        """The names of the files, the latest where there were many."""
        names: list[str] = []
        for sink in (one for one in self.made if hasattr(one, "path")):
            latest = getattr(sink, "segments", [sink.path])[-3:]
            earlier = getattr(sink, "started", 0) - len(latest)
            names.append(", ".join(map(str, latest)) + (f" and {earlier} before" if earlier > 0 else ""))
        return names

    def _segmented(self, path: Path, make: Any) -> Any:
        """One plain file without --segment-s; a video starts another one where the frames' size changes."""
        from edgevid.output.sinks import SegmentedSink

        if self.segment_s is None and path != self.files.out:
            return make(path)
        limit = round(self.max_disk_gb * 1e9) if self.max_disk_gb else None
        return SegmentedSink(path, make, segment_s=self.segment_s, max_disk_bytes=limit)

    def _video(self, path: Path, config: Any, video: Any) -> Sink:
        from edgevid.output.sinks import AnnotatedVideo
        from edgevid.viewer.config import make_overlay

        overlay = make_overlay(config.scaled_to(video.size), self.unit, scores=self.scores)
        return AnnotatedVideo(path, fps=video.fps, overlay=overlay, codec=self.codec)
