"""One file from the mirror where one is set, else over HTTP: resumed, verified, pinned, kept. The mirror that
EDGEVID_MODELS_MIRROR names is a folder, searched by file name and SHA-256, or an address."""

import dataclasses
import fcntl
import glob
import http.client
import os
import shutil
import threading
import time as clock
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote

from edgevid.errors import DownloadError, log
from edgevid.files import atomic_path, make_folder, move_into_place, sha256_of, write_atomic
from edgevid.runtime.recipe import Source

MIRROR = "EDGEVID_MODELS_MIRROR"  # Environment variable that names the mirror
CHUNK = 1 << 18
TIMEOUT_S = 10.0  # A server that sends nothing for this long counts as gone; the partial file is kept and resumed later
STALL_S, LEAST_BYTES = 30.0, 1 << 15  # A server that sends less in this time counts as gone, too
MOST_BYTES = 1 << 33  # A file whose recipe states no size has no more
Progress = Callable[[int, int], None]  # Called with the bytes received and the bytes expected (0 where unknown)


@contextmanager
def alone_with(target: Path) -> Iterator[None]:
    """A lock on the folder of a file: other threads and programs that ask for it wait while its download goes on.
    DownloadError where it does not, for twice the time after which a download gives up."""
    make_folder(target.parent)
    handle, seen, since = os.open(target.parent, os.O_RDONLY), -1, clock.monotonic()
    try:
        while not _locked(handle):
            size = sum(one.stat().st_size for one in target.parent.glob("*.part*"))
            seen, since = (size, clock.monotonic()) if size != seen else (seen, since)
            if clock.monotonic() - since > 2 * STALL_S:
                raise DownloadError(f"{target.parent}: another program holds its lock and does nothing; end it")
            clock.sleep(0.1)
        yield
    finally:
        os.close(handle)  # releases the lock, as the end of the program does


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def download(url: str, target: Path, *, sha256: str = "", size: int = 0, progress: Progress | None = None) -> Path:
    """The file at `url`, saved as `target` once its SHA-256 and size are right. An interrupted download stays as
    `<target>.part` and is resumed by the next call. Raises DownloadError where the address cannot be reached or sends
    another file than expected."""
    make_folder(target.parent)
    part = target.with_name(target.name + ".part")
    resumed = _transfer(url, part, size, progress)
    problem = _problem(part, sha256, size)
    if problem and resumed:  # the partial file of an earlier run may belong to another version of the file
        part.unlink()
        _transfer(url, part, size, progress)
        problem = _problem(part, sha256, size)
    if problem:
        part.unlink()
        raise DownloadError(f"{url}: {problem}. Nothing was kept; the file there has changed or is damaged")
    move_into_place(part, target)
    return target


def _problem(part: Path, sha256: str, size: int) -> str:
    """What is wrong with a finished download; empty where nothing is."""
    got = part.stat().st_size
    if size and got != size:
        return f"expected {size} bytes, got {got}"
    if sha256 and (found := sha256_of(part)) != sha256:
        return f"expected SHA-256 {sha256}, got {found}"
    return "" if got else "expected a file, got nothing"


def _transfer(url: str, part: Path, size: int, progress: Progress | None) -> bool:
    """Downloads the rest of `part`; whether it was resumed from an earlier run. In a thread of its own, which is left
    behind where nothing comes: while it looks up a name or reads a header, no time limit ends it."""
    answers, reader = SimpleQueue[Any](), _Reader(url, part, size, progress)
    threading.Thread(target=lambda: answers.put(reader.outcome()), name="edgevid-download", daemon=True).start()
    try:
        while True:
            before = reader.received
            with suppress(Empty):
                outcome = answers.get(timeout=STALL_S)
                break
            if reader.received - before < LEAST_BYTES:
                text = f"{url}: fewer than {LEAST_BYTES >> 10} kB came in {STALL_S:g} s; run it again to resume"
                raise DownloadError(text)
    finally:
        reader.over = True
    if isinstance(outcome, BaseException):
        raise outcome
    return bool(outcome)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any) -> Any:
        """The next request; no server leads from HTTPS to HTTP."""
        if given[0].type == "https" and not given[-1].startswith("https:"):
            raise urllib.error.URLError(f"it leads from https to {given[-1].partition(':')[0]}, which is rejected")
        return super().redirect_request(*given)


def _opener() -> urllib.request.OpenerDirector:
    """What opens addresses of HTTP and HTTPS, and no others: urllib's own reads files of this machine, too."""
    made, request = urllib.request.OpenerDirector(), urllib.request
    for handler in (request.ProxyHandler, request.UnknownHandler, request.HTTPHandler, request.HTTPSHandler,
                    request.HTTPDefaultErrorHandler, request.HTTPErrorProcessor, _Redirects):  # fmt: skip
        made.add_handler(handler())
    return made


class _Reader:
    """Reads one file into `part`, until it is `over`."""

    def __init__(self, url: str, part: Path, size: int, progress: Progress | None) -> None:
        self._url, self._part, self._size, self._progress = url, part, size, progress
        self.received, self.over = 0, False

    def outcome(self) -> Any:
        """Whether it was resumed, or the error."""
        try:
            return self._transfer()
        except BaseException as error:  # for the thread that waits
            return error

    def _transfer(self) -> bool:
        url, part = self._url, self._part
        have = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(url, headers={"User-Agent": "edgevid"})
        if have:
            request.add_header("Range", f"bytes={have}-")
        try:
            with _opener().open(request, timeout=TIMEOUT_S) as answer:
                resumed = bool(answer.status == 206)
                total = int(answer.headers.get("Content-Length") or 0) + (have if resumed else 0)
                self._save(answer, have if resumed else 0, total)
                return resumed
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing left to send: the file is complete, or another one
                return True
            raise DownloadError(f"{url}: the server responds {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise DownloadError(f"{url}: cannot be reached ({error.reason})") from error
        except DownloadError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise DownloadError(f"{url}: the connection was lost ({error}); run it again to resume") from error

    def _save(self, answer: http.client.HTTPResponse, have: int, total: int) -> None:
        most = self._size or MOST_BYTES
        if total <= most:
            with self._part.open("ab" if have else "wb") as file:
                while have <= most and (chunk := answer.read1(CHUNK)) and not self.over:
                    file.write(chunk)
                    have, self.received = have + len(chunk), self.received + len(chunk)
                    if self._progress:
                        self._progress(have, total or self._size)
        if max(have, total) > most:
            self._part.unlink(missing_ok=True)
            raise DownloadError(f"{self._url}: expected {most} bytes at most, more came: stopped")
        if total and have < total:
            raise http.client.IncompleteRead(b"", total - have)


def obtain(source: Source, file: str, target: Path, *, progress: Progress | None = None) -> Path:
    """Brings one file to `target` from the mirror where one is set, else from its own address; what is there already is
    verified, and used only where it is right.

    A source without a SHA-256 is pinned: the first download's is written next to the file and must match from then
    on. If several programs need the file at once, one downloads it and the others wait. Raises DownloadError with
    the mirror variable, the address and the file."""
    with alone_with(target):
        known = pinned(source, target)
        if not target.is_file():
            _obtain(known, file, target, progress)
        elif problem := _problem(target, known.sha256, known.bytes):
            log.warning("%s: %s; it is obtained again", target, problem)
            target.unlink()
            _obtain(known, file, target, progress)
        if not known.sha256:
            pin = _pin(target)
            write_atomic(pin, f"{sha256_of(target)}  {file}\n")
            log.warning("%s has no published checksum; that of this file is pinned in %s", file, pin)
    return target


def pinned(source: Source, target: Path) -> Source:
    """The source with the checksum of its first download, where it publishes none of its own."""
    pin = _pin(target)
    if source.sha256 or not pin.is_file():
        return source
    return dataclasses.replace(source, sha256=pin.read_text(encoding="utf-8").split()[0])


def _pin(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def _obtain(source: Source, file: str, target: Path, progress: Progress | None) -> None:
    mirror = os.environ.get(MIRROR, "")
    try:
        if mirror.startswith(("http://", "https://")):
            _from_address(mirror, source, file, target, progress)
        elif mirror:
            _from_folder(Path(mirror).expanduser(), source, file, target)
        elif source.url:
            log.info("downloading %s from %s", file, source.url)
            download(source.url, target, sha256=source.sha256, size=source.bytes, progress=progress)
        else:
            raise DownloadError(f"{file}: its recipe gives no address")
    except DownloadError as error:
        raise DownloadError(
            f"{error}. Expected {file} from {source.url or 'no address'}; on a closed network put the file "
            f"into a folder and set {MIRROR} to it (now {mirror or 'not set'}), or save it as {target}"
        ) from error


def _from_address(mirror: str, source: Source, file: str, target: Path, progress: Progress | None) -> None:
    """Tries the mirror's file by name, then by SHA-256."""
    problems = []
    for name in filter(None, (file, source.sha256)):
        url = f"{mirror.rstrip('/')}/{quote(name)}"
        try:
            download(url, target, sha256=source.sha256, size=source.bytes, progress=progress)
            return
        except DownloadError as error:
            problems.append(str(error))
    raise DownloadError("; ".join(problems))


def _from_folder(mirror: Path, source: Source, file: str, target: Path) -> None:
    """Copies the file out of a folder tree: by name first, then by size and SHA-256."""
    if not mirror.is_dir():
        raise DownloadError(f"{MIRROR}: {mirror} is neither a folder nor an http address")
    known = source.sha256 and source.bytes
    same = (p for p in mirror.rglob("*") if known and p.is_file() and p.stat().st_size == source.bytes)
    for path in chain((p for p in mirror.rglob(glob.escape(file)) if p.is_file()), same):
        if not source.sha256 or sha256_of(path) == source.sha256:
            with atomic_path(target) as new:
                shutil.copyfile(path, new)
            return
    raise DownloadError(f"{mirror} holds no {file}{f' of SHA-256 {source.sha256}' if source.sha256 else ''}")
