"""What a command prints (results on standard output, notes on standard error, by -v and -q), and files it writes."""

import ctypes
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edgevid.errors import InputError, log, masked, visible
from edgevid.files.atomic import atomic_path, check_file
from edgevid.types import Array

BROKEN_PIPE = 141  # Exit status where the reader of standard output has ended, as of other programs: 128 + SIGPIPE


class _Verbosity:
    level: int = 0  # -1 with -q, 1 with -v


def set_verbosity(*, verbose: bool = False, quiet: bool = False) -> None:
    """From now on: `quiet` prints only results and errors, `verbose` also the log's debug messages."""
    _Verbosity.level = int(verbose) - int(quiet)


def is_quiet() -> bool:
    """Whether -q was given."""
    return _Verbosity.level < 0


class _Safe(Console):
    """What is printed has nothing that a terminal obeys, but for the markup of edgevid itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)  # a class ":100:" keeps its name

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text, "\n\t"), **options)


class _Output(_Safe):
    def on_broken_pipe(self) -> None:
        """The reader has ended (`edgevid ... | head`): so does the command, without a message."""
        end_output()
        raise SystemExit(BROKEN_PIPE)


def results(*, soft_wrap: bool = True, **options: Any) -> Console:
    """The console of a command's results, on standard output."""
    return _Output(soft_wrap=soft_wrap, **options)


def notes(*, soft_wrap: bool = True, **options: Any) -> Console:
    """The console of notes and progress, on standard error; it prints nothing with -q."""
    return _Safe(stderr=True, soft_wrap=soft_wrap, quiet=is_quiet(), **options)


def errors() -> Console:
    """The console of errors, on standard error; -q does not hide it."""
    return _Safe(stderr=True, soft_wrap=True)


def end_output() -> None:
    """Standard output leads nowhere from now on, so that Python's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def log_shown(console: Console | None = None, *, default: int = logging.WARNING) -> Iterator[None]:
    """Shows the log of edgevid while a command runs: above the bar of `console`, else plain lines.

    From `default` on; -v shows everything, -q only errors.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    if console is not None and sys.stderr.isatty():
        from rich.logging import RichHandler

        handler = RichHandler(console=console, show_path=False, markup=False)
    before, level = log.handlers[:], log.level
    log.handlers[:] = [handler]
    log.setLevel({-1: logging.ERROR, 1: logging.DEBUG}.get(_Verbosity.level, min(level or default, default)))
    try:
        yield
    finally:
        log.handlers[:] = before
        log.setLevel(level)


def _progress(*fields: str) -> Any:
    """A bar (of rich) with a text, what is done, `fields` and the time left; hidden with -q and without a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console, texts = notes(soft_wrap=False), map(TextColumn, fields)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *texts, TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=is_quiet() or not console.is_terminal)


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Any]:
    """A bar (of rich) with frames, frames per second and the time left; `task 0` is the run."""
    with _progress("{task.fields[fps]:.0f} fps") as bar:
        bar.add_task(escape(visible(masked(title))), total=total, fps=0.0)
        yield bar


@contextmanager
def training_bar(checkpoint: Path | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """A bar that the yielded function updates: with what is done, its total and a text. Without a terminal it prints a
    line a minute. Ctrl-C names the `checkpoint` that the same command continues from."""
    printed = -LINE_EVERY_S
    with _progress() as bar:
        bar.add_task("", total=None, visible=False)

        def update(done: int, total: int, text: str) -> None:
            nonlocal printed
            shown = escape(visible(text))
            bar.update(bar.task_ids[0], completed=done, total=total, description=shown, visible=done < total)
            if not bar.console.is_terminal and time.monotonic() >= printed + LINE_EVERY_S:
                printed = time.monotonic()
                bar.console.print(f"{text}: {done} of {total}", markup=False)

        try:
            yield update
        except KeyboardInterrupt:
            if checkpoint and any(checkpoint.parent.rglob(f"*{checkpoint.name}")):
                errors().print(f"interrupted: the same command continues from {checkpoint}", markup=False)
            raise


def advance(bar: Any) -> None:
    """One frame further."""
    task = bar.tasks[0]
    bar.update(task.id, advance=1, fps=task.speed or task.fields["fps"])


LINE_EVERY_S = 60.0  # Between the lines of a training's progress, where no terminal shows its bar
ARG_START = 45  # Place of the address of the first argument in /proc/self/stat, counted behind the program's name


def mask_process_title() -> None:
    """Overwrites the passwords of addresses in this process's command line; nothing on other systems.

    proc_pid_stat(5): fields 48 and 49 are where the arguments begin and end in memory.
    """
    with suppress(OSError, ValueError, IndexError):
        shown = Path("/proc/self/cmdline").read_bytes()
        hidden = b"\0".join(os.fsencode(masked(os.fsdecode(part))) for part in shown.split(b"\0"))
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[ARG_START]), int(fields[ARG_START + 1])
        if hidden != shown and 0 < start < end and end - start == len(shown):
            ctypes.memmove(start, hidden[: len(shown)].ljust(len(shown), b"\0"), len(shown))


FULL_WIDTH = 1000


def as_texts(console: Console, row: Iterable[str | Text]) -> Iterable[Text]:
    """The cells of a table's row, printed as they are."""
    return (cell if isinstance(cell, Text) else console.render_str(cell, markup=False) for cell in row)


def print_rows(console: Console, heads: Iterable[str], rows: Iterable[Iterable[str | Text]], *,
               text: Collection[str] = (), title: str = "") -> None:  # fmt: skip
    """Prints a table of a name and numbers, which are right-aligned. The columns in `text` may wrap; the others stay
    whole, past the terminal's edge where they must. Texts are printed as they are, without markup."""
    styled = console.render_str(title, markup=False, style="table.title") if title else None
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), title=styled, title_justify="left")
    for n, name in enumerate(heads):
        side: Literal["left", "right"] = "left" if n == 0 or name in text else "right"
        head = console.render_str(name, markup=False)
        table.add_column(head, justify=side, no_wrap=n == 0 or name not in text, overflow="fold")
    for row in rows:
        table.add_row(*as_texts(console, row))
    options = console.options.update(width=FULL_WIDTH, max_width=FULL_WIDTH)
    for column in table.columns:
        if column.no_wrap:
            cells = [column.header, *column.cells]
            column.min_width = max(Measurement.get(console, options, cell).maximum for cell in cells)
    width = console.width
    console.width = max(width, Measurement.get(console, options, table).minimum)
    console.print(table)
    console.width = width


KINDS = {"MP4": (".mp4", ".m4v", ".mov"), "JSON lines": (".jsonl", ".ndjson", ".json"), "JSON": (".json",),
         "CSV": (".csv",), "MOT": (".txt",), "events": (".jsonl", ".csv", ".ndjson"), "HTML": (".html", ".htm"),
         "PNG": (".png",), "NPZ": (".npz",), "image": (".png", ".jpg", ".jpeg"), "TOML": (".toml",), "ONNX": (".onnx",),
         "engine": (".engine", ".plan"), "timeline": (".csv", ".vtt", ".eaf")}  # fmt: skip
"""What outputs hold, and the suffixes that their names may have."""
TEXTS = ("JSON lines", "JSON", "CSV", "MOT", "events")  # What may go to standard output, as "-"

Outputs = Mapping[str, tuple[str | Path | None, str]]
"""By option: the path, None where it was not given, and its key in KINDS ("" where any suffix will do)."""


def check_outputs(outputs: Outputs, inputs: Iterable[str | Path | None] = (), *, force: bool = False) -> None:
    """InputError or SourceError where an output must not or cannot be written; to be called before any work.

    An output is no input (links count) and is given once; its suffix suits its content; it does not exist,
    unless `force`; its place can be written. "-" is standard output, for one output that is text.
    """
    read = [Path(path) for path in inputs if path and os.path.exists(path)]
    written: list[Path] = []
    for option, (path, kind) in outputs.items():
        if path is None:
            continue
        path = Path(path)
        if any(_same(path, other) for other in written):
            raise InputError(f"{option}: another output goes to {path} too; choose different names")
        written.append(path)
        if is_stdout(path):
            if kind not in TEXTS:
                raise InputError(f"{option}: expected a file, got - (standard output), which takes text only")
        elif not path.exists() or path.is_file() or path.is_dir():  # a device or pipe is for anything
            _check_file(option, path, kind, read, force)


def _check_file(option: str, path: Path, kind: str, read: list[Path], force: bool) -> None:
    if any(_same(path, other) for other in read):
        raise InputError(f"{path}: this input would be overwritten; choose another name")
    suffixes = KINDS.get(kind, ())
    if path.suffix and suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{option}: expected a name that ends in {' or '.join(suffixes[:2])}, got {path}")
    check_file(path)
    if path.exists() and not force:
        raise InputError(f"{option}: {path} exists; --force overwrites it, or choose another name")


def is_stdout(path: Path | None) -> bool:
    """Whether a path is "-", standard output."""
    return str(path) == "-"


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def write_json(values: Any, path: Path | None) -> bool:
    """Writes plain values to a JSON file, or prints them for "-"; False where nothing else may be printed."""
    if path is not None:
        write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    return not is_stdout(path)


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, or prints it for "-"; SourceError where that is impossible."""
    write_lines(path, (text,))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file as its parts come, complete or not at all; or prints them for "-"."""
    if is_stdout(path):
        sys.stdout.writelines(lines)
        return
    with atomic_path(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        file.writelines(lines)
    show_written(path)


def write_image(option: str, path: Path, image: Array) -> None:
    """Writes an (H, W, 3) RGB image; InputError where that is impossible."""
    from edgevid._opencv import cv2

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = cv2.imwrite(str(path), image[:, :, ::-1])
    except (cv2.error, OSError):
        done = False
    if not done:
        raise InputError(f"{option}: expected a writable name that ends in .png or .jpg, got {path}")


def show_written(path: Path) -> None:
    """Names a written file on standard error."""
    notes().print(f"[dim]written:[/] {escape(str(path))}")
