"""Timelines: who did what from when to when, as CSV, WebVTT or ELAN; written by a run, and read as labels."""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape, unescape
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree  # nosec B405

import numpy as np

from edgevid.actions import OnlineSegments, Segment
from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.files.atomic import write_atomic
from edgevid.files.cells import csv_rows, csv_text
from edgevid.types import Closing, Frame, Result

NO_TIER = "default"  # ELAN's name of the tier of spans without one


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
        self.path = Path(path)
        _format(self.path)
        self._open: dict[str, tuple[OnlineSegments, tuple[str, ...]]] = {}  # By task, with the names of its classes
        self.spans: list[Span] = []

    def write(self, frame: Frame, result: Result) -> None:
        """Takes the scores of the objects whose class is emitted."""
        for task, scores in result.scores.items():
            known = result.verdicts[task]
            emitted = scores[np.isin(scores.ids, known.ids[known.labels >= 0])]
            segments, _ = self._open.setdefault(task, (OnlineSegments(forget_after_s=1.0), result.names[task]))
            self._keep(task, segments.update(emitted)[1])

    def _keep(self, task: str, ended: Sequence[Segment]) -> None:
        self.spans += [Span(one.start, one.end, self._open[task][1][one.label], f"{task} {one.id}") for one in ended]

    def close(self) -> None:
        """Ends every segment and writes the file."""
        for task, (segments, _) in self._open.items():
            self._keep(task, segments.finish())
        write_timeline(self.path, self.spans)


def _to_csv(spans: Sequence[Span]) -> str:
    return csv_text([Span._fields, *((f"{start:.3f}", f"{end:.3f}", *more) for start, end, *more in spans)])


def _of_csv(text: str) -> list[Span]:
    rows = csv_rows(io.StringIO(text, newline=""))
    return [Span(float(row["start"]), float(row["end"]), row["label"], row.get("tier") or "") for row in rows]


def _to_vtt(spans: Sequence[Span]) -> str:
    def clock(seconds: float) -> str:
        minutes, ms = divmod(round(1000 * seconds), 60_000)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}"

    voices = (f"<v {escape(one.tier)}>" if one.tier else "" for one in spans)
    cues = (f"{clock(one.start)} --> {clock(one.end)}\n{voice}{escape(one.label, quote=False)}\n"
            for one, voice in zip(spans, voices, strict=True))  # fmt: skip
    return "\n".join(["WEBVTT\n", *cues])


def _of_vtt(text: str) -> list[Span]:
    if not text.startswith("WEBVTT"):
        raise ValueError("expected WEBVTT in the first line")
    cue = re.compile(r"^([\d:.]+) +--> +([\d:.]+)[^\n]*\n(?:<v(?:\.[\w.]+)? ([^>\n]*)>)?(.+(?:\n.+)*)", re.MULTILINE)
    spans = []
    for *clocks, tier, label in cue.findall(text.replace("\r\n", "\n")):
        start, end = (sum(60**n * float(part) for n, part in enumerate(reversed(t.split(":")))) for t in clocks)
        spans.append(Span(round(start, 3), round(end, 3), unescape(re.sub("<[^<>]*>", "", label)), unescape(tier)))
    return spans


def _to_eaf(spans: Sequence[Span]) -> str:
    root = ElementTree.Element("ANNOTATION_DOCUMENT", AUTHOR="edgevid", FORMAT="3.0", VERSION="3.0", DATE="")
    ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    order, tiers = ElementTree.SubElement(root, "TIME_ORDER"), dict[str, ElementTree.Element]()
    for name in dict.fromkeys(one.tier or NO_TIER for one in spans):
        tiers[name] = ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
    for number, span in enumerate(spans):
        places = {f"TIME_SLOT_REF{side}": f"ts{2 * number + side}" for side in (1, 2)}
        for slot, seconds in zip(places.values(), span[:2], strict=True):
            ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(round(1000 * seconds)))
        holder = ElementTree.SubElement(tiers[span.tier or NO_TIER], "ANNOTATION")
        one = ElementTree.SubElement(holder, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{number + 1}", **places})
        ElementTree.SubElement(one, "ANNOTATION_VALUE").text = span.label
    kind = {"LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kind)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _of_eaf(text: str) -> list[Span]:
    if "<!DOCTYPE" in text:  # which names files and addresses, and entities that grow
        raise ValueError("a document type, which ELAN does not write")
    root = ElementTree.fromstring(text.encode())  # nosec B314
    slots = {s.attrib["TIME_SLOT_ID"]: float(s.attrib["TIME_VALUE"]) / 1000 for s in root.iterfind(".//TIME_SLOT")}
    spans = []
    for tier in root.iterfind("TIER"):
        for one in tier.iterfind(".//ALIGNABLE_ANNOTATION"):
            start, end = (slots[one.attrib[f"TIME_SLOT_REF{side}"]] for side in (1, 2))
            name = tier.attrib["TIER_ID"].removeprefix(NO_TIER)
            spans.append(Span(start, end, one.findtext("ANNOTATION_VALUE") or "", name))
    return spans


FORMATS = {".csv": (_to_csv, _of_csv), ".vtt": (_to_vtt, _of_vtt), ".eaf": (_to_eaf, _of_eaf)}
"""By suffix what writes a timeline's spans as text, and what reads them."""


def _format(path: Path) -> tuple[Callable[[Sequence[Span]], str], Callable[[str], list[Span]]]:
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: expected a timeline's name that ends in {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


def write_timeline(path: Path, spans: Iterable[Span]) -> None:
    """Writes spans in the order of their start, in the format that the file's suffix tells: .csv, .vtt or .eaf."""
    write_atomic(path, _format(path)[0](sorted(spans)))


def read_timeline(path: Path) -> list[Span]:
    """The spans of a CSV (start, end, label[, tier] in seconds), a WebVTT or an ELAN file, in the order of their start.
    FileFormatError where it is none, or where one ends before it starts."""
    try:
        found = sorted(_format(path)[1](path.read_text(encoding="utf-8-sig")))
        if not all(0 <= one.start <= one.end for one in found):
            raise ValueError("one that ends before it starts")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except (ValueError, KeyError, TypeError, ElementTree.ParseError) as error:
        if isinstance(error, InputError):
            raise
        expected = "start, end and label of each span: CSV with these columns, WebVTT cues or ELAN annotations"
        raise FileFormatError(path, "the whole file", expected=expected, got=str(error)) from None
    return found
