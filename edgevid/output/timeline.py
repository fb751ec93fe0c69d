"""Timelines: who did what from when to when, as CSV, WebVTT or ELAN; written by a run, and read as labels."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from edgevid.actions import OnlineSegments, Segment
from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.files.atomic import write_atomic
from edgevid.types import Closing, Frame, Result

SUFFIXES = (".csv", ".vtt", ".eaf")


class Span(NamedTuple):
    """An activity, [start, end) in seconds of the video."""

    start: float
    end: float
    label: str
    tier: str = ""  # Whose it is: a task and the number of a track; empty: of the whole frame


class TimelineSink(Closing):
    """The activities of each track, written when the run ends: of the objects whose class is emitted, in segments that
    do not flicker (OnlineSegments) and end with the last score before a gap of a second."""

    def __init__(self, path: str | Path) -> None:
        """InputError unless the name ends in .csv, .vtt or .eaf."""
        self.path = _known(Path(path))
        self._open: dict[str, OnlineSegments] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self.spans: list[Span] = []

    def write(self, frame: Frame, result: Result) -> None:
        """Takes the scores of the objects whose class is emitted."""
        for task, scores in result.scores.items():
            self._names[task] = result.names[task]
            known = result.verdicts[task]
            emitted = scores[np.isin(scores.ids, known.ids[known.labels >= 0])]
            segments = self._open.setdefault(task, OnlineSegments(forget_after_s=1.0))
            self._keep(task, segments.update(emitted)[1])

    def _keep(self, task: str, ended: Sequence[Segment]) -> None:
        names = self._names[task]
        self.spans += [Span(one.start, one.end, names[one.label], f"{task} {one.id}") for one in ended]

    def close(self) -> None:
        """Ends every segment and writes the file."""
        for task, segments in self._open.items():
            self._keep(task, segments.finish())
        write_timeline(self.path, self.spans)


def write_timeline(path: Path, spans: Iterable[Span]) -> None:
    """Writes spans in the order of their start, in the format that the file's suffix tells: .csv, .vtt or .eaf."""
    ordered = sorted(spans)
    write_atomic(path, {".csv": _to_csv, ".vtt": _to_vtt, ".eaf": _to_eaf}[_known(path).suffix.lower()](ordered))


def read_timeline(path: Path) -> list[Span]:
    """The spans of a CSV (start, end, label[, tier] in seconds), a WebVTT or an ELAN file, in the order of their start.
    FileFormatError where it is none, or where one ends before it starts."""
    read = {".csv": _of_csv, ".vtt": _of_vtt, ".eaf": _of_eaf}[_known(path).suffix.lower()]
    try:
        found = sorted(read(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except (ValueError, KeyError, TypeError, ElementTree.ParseError) as error:
        expected = "start, end and label of each span: CSV with these columns, WebVTT cues or ELAN annotations"
        raise FileFormatError(path, "the whole file", expected=expected, got=str(error)) from None
    for one in found:
        if not 0 <= one.start <= one.end:
            raise FileFormatError(path, one.label, expected="0 <= start <= end in seconds", got=(one.start, one.end))
    return found


def _known(path: Path) -> Path:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected a timeline's name that ends in {', '.join(SUFFIXES)}")
    return path


def _to_csv(spans: Sequence[Span]) -> str:
    text = io.StringIO()
    rows = ((f"{start:.3f}", f"{end:.3f}", *more) for start, end, *more in spans)
    csv.writer(text, lineterminator="\n").writerows([Span._fields, *rows])
    return text.getvalue()


def _of_csv(text: str) -> list[Span]:
    rows = csv.DictReader(io.StringIO(text))
    return [Span(float(row["start"]), float(row["end"]), row["label"], row.get("tier") or "") for row in rows]


def _to_vtt(spans: Sequence[Span]) -> str:
    def clock(seconds: float) -> str:
        minutes, ms = divmod(round(1000 * seconds), 60_000)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}"

    cues = (f"{clock(a)} --> {clock(b)}\n{f'<v {_escaped(tier)}>' if tier else ''}{_escaped(label)}\n"
            for a, b, label, tier in spans)  # fmt: skip
    return "\n".join(["WEBVTT\n", *cues])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _of_vtt(text: str) -> list[Span]:
    def plain(words: str) -> str:
        return re.sub(r"<[^>]*>", "", words).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()

    if not text.startswith("WEBVTT"):
        raise ValueError("expected WEBVTT in the first line")
    cue = re.compile(r"^([\d:.]+) +--> +([\d:.]+)[^\n]*\n(?:<v(?:\.[\w.]+)? ([^>]*)>)?(.+(?:\n.+)*)", re.MULTILINE)
    spans = []
    for a, b, tier, label in cue.findall(text.replace("\r\n", "\n")):
        start, end = (sum(60**n * float(part) for n, part in enumerate(reversed(t.split(":")))) for t in (a, b))
        spans.append(Span(round(start, 3), round(end, 3), plain(label), plain(tier)))
    return spans


def _to_eaf(spans: Sequence[Span]) -> str:
    root = ElementTree.Element("ANNOTATION_DOCUMENT", AUTHOR="edgevid", FORMAT="3.0", VERSION="3.0", DATE="")
    ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    order = ElementTree.SubElement(root, "TIME_ORDER")
    tiers: dict[str, ElementTree.Element] = {}
    for number, span in enumerate(spans):
        slots = [f"ts{2 * number + side}" for side in (1, 2)]
        for slot, seconds in zip(slots, span[:2], strict=True):
            ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(round(1000 * seconds)))
        name = span.tier or "default"
        if name not in tiers:
            tiers[name] = ElementTree.Element("TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
        one = ElementTree.SubElement(ElementTree.SubElement(tiers[name], "ANNOTATION"), "ALIGNABLE_ANNOTATION")
        one.attrib = {"ANNOTATION_ID": f"a{number + 1}", "TIME_SLOT_REF1": slots[0], "TIME_SLOT_REF2": slots[1]}
        ElementTree.SubElement(one, "ANNOTATION_VALUE").text = span.label
    root.extend(tiers.values())
    kind = {"LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kind)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _of_eaf(text: str) -> list[Span]:
    root = ElementTree.fromstring(text.encode())
    slots = {s.attrib["TIME_SLOT_ID"]: float(s.attrib["TIME_VALUE"]) / 1000 for s in root.iterfind(".//TIME_SLOT")}
    spans = []
    for tier in root.iterfind("TIER"):
        name = tier.attrib["TIER_ID"]
        for one in tier.iterfind(".//ALIGNABLE_ANNOTATION"):
            start, end = (slots[one.attrib[f"TIME_SLOT_REF{side}"]] for side in (1, 2))
            label = one.findtext("ANNOTATION_VALUE") or ""
            spans.append(Span(start, end, label, "" if name == "default" else name))
    return spans
