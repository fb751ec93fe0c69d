"""Files that are complete or absent: written under another name, flushed to the disk, moved into place."""

import errno
import fcntl
import os
import re
import stat
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgevid.errors import EdgevidError, SourceError, masked

FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = "the folder or its disk is gone: mount it, or choose another path"
_REMEDIES = {**dict.fromkeys(FULL, "the disk is full: free space, or choose another disk"),
             errno.EROFS: "the disk is mounted read-only, often after an error: check it, and mount it for writing",
             errno.EIO: "the disk or its connection fails: check it",
             **dict.fromkeys((errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ESTALE), _GONE)}  # fmt: skip
_PART = re.compile(r"\..+\.[0-9a-f]{12}\.part(\..*)?")
_SWEPT = set[Path]()  # Folders in which this program has looked for what killed programs left


class InUseError(SourceError):
    """Another program writes there."""


@contextmanager
def atomic_path(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """A new file next to `path`, which replaces it when the block ends without an error.

    Readers get the old file or the new one, never a part; a crash or a power failure leaves one of both. The
    temporary name is unique, so that two programs never write one file, and what a killed one left is deleted. The
    mode of a replaced file stays, its owner where possible, and a symbolic link keeps pointing to its file; a new one
    has `mode`, less the umask. SourceError, an OSError, where no file can be made there, or the disk is full."""
    path = Path(os.path.realpath(path))
    check_file(path)
    make_folder(path.parent)
    if path.parent not in _SWEPT:
        _SWEPT.add(path.parent)
        sweep(path.parent)
    new, handle = path, -1
    try:
        while handle < 0 or not os.fstat(handle).st_nlink:  # another program may take it for what a killed one left
            new = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part{path.suffix}")
            handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600 if path.exists() else mode)
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield new
        if path.exists():
            old = path.stat()
            with suppress(OSError):  # only root may give a file away
                os.chown(new, old.st_uid, old.st_gid)
            new.chmod(old.st_mode & 0o777)
        move_into_place(new, path)
    except EdgevidError:  # of what was to be written
        raise
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error), remedy(error)) from None
    finally:
        if handle >= 0:
            os.close(handle)
            with suppress(OSError):  # moved already
                new.unlink()


def sweep(folder: Path) -> None:
    """Deletes what killed programs left in a folder: parts of files that no program has locked."""
    for left in filter(_PART.fullmatch, os.listdir(folder)):
        with suppress(OSError), (folder / left).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / left).unlink()


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o666) -> None:
    """Writes a whole file in one step (see `atomic_path`); text as UTF-8."""
    with atomic_path(path, mode=mode) as new:
        new.write_bytes(data.encode() if isinstance(data, str) else data)


def claim(path: Path, handle: int | None = None, *, wait_s: float = 0.0) -> int:
    """A handle of a file or folder that no other program has claimed; to close it, or the end of the program however
    it comes, gives it back. `handle` is one of it that is open. InUseError names the program that has it, also after
    `wait_s` seconds. A pipe, a device, and a file system without locks are never claimed."""
    found, ends = os.open(path, os.O_RDONLY) if handle is None else handle, clock.monotonic() + wait_s
    while stat.S_IFMT(os.fstat(found).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() < ends:
                clock.sleep(0.01)
                continue
            holder = _holder(os.fstat(found).st_ino)
            os.close(found)
            raise InUseError(f"{path}: {holder} is using it; end that one, or choose another path") from None
        except OSError:
            pass
        break
    return found


def _holder(inode: int) -> str:
    """The process that has locked a file, as Linux tells."""
    with suppress(OSError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, _, _, process, place, *_ = line.split()
            if kind == "FLOCK" and place.endswith(f":{inode}"):
                command = Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")
                return f"process {process} ({masked(' '.join(' '.join(command).split()))[:200]})"
    return "another program"


def check_file(path: Path) -> None:
    """SourceError where no file can be written at `path`; to be called before the work of a file."""
    if os.path.isdir(path):
        raise _not_writable(path, "it is a folder", "choose a file name")
    if not os.access(near := _check_parents(path), os.W_OK):
        number = errno.EROFS if os.statvfs(near).f_flag & os.ST_RDONLY else errno.EACCES
        raise _not_writable(path, os.strerror(number), remedy(OSError(number, "")))


def check_folder(path: Path) -> None:
    """SourceError where `path` can be no folder; to be called before the work of its files."""
    if os.path.lexists(path) and not os.path.isdir(path):
        raise _not_writable(path, "it is a file", "choose a folder")
    _check_parents(path)


def make_folder(path: Path) -> None:
    """Makes a folder and its parents; SourceError where that is impossible."""
    check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, str(error.strerror), remedy(error)) from None


def _check_parents(path: Path) -> Path:
    """The innermost parent that exists; SourceError where it is a file."""
    near = next(folder for folder in path.absolute().parents if os.path.exists(folder))
    if not os.path.isdir(near):
        raise _not_writable(path, f"{near} is a file, not a folder")
    return near


def remedy(error: OSError) -> str:
    """What to do about a disk that cannot be written."""
    return _REMEDIES.get(error.errno or 0, "choose another path")


def is_full(error: OSError) -> bool:
    """Whether the disk is full, or the user's share of it."""
    return error.errno in FULL or error.strerror in [os.strerror(number) for number in FULL]


def _not_writable(path: Path, reason: str, remedy: str = "choose another path") -> SourceError:
    error = SourceError(f"{path}: cannot be written: {reason}; {remedy}")
    error.strerror = reason  # for callers that catch OSError
    return error


def move_into_place(new: Path, path: Path) -> None:
    """Flushes a finished file to the disk and renames it to `path`, replacing what is there."""
    _flush(new)
    os.replace(new, path)
    with suppress(OSError):  # a file system that cannot flush a folder
        _flush(path.parent)


def quarantine(path: Path, suffix: str) -> Path:
    """Renames a damaged file to `path` with `suffix` appended, and returns its new name."""
    aside = path.with_name(path.name + suffix)
    os.replace(path, aside)
    return aside


def flush_to_disk(handle: int) -> None:
    """Waits until what was written to an open file is on the disk; a pipe or device has none."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):
            raise


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
