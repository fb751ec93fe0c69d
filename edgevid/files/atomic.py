"""Files that are complete or absent: written under another name, flushed to the disk, moved into place."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgevid.errors import EdgevidError, SourceError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A new file next to `path`, which replaces it when the block ends without an error.

    Readers get the old file or the new one, never a part; a crash or a power failure leaves one of both. The
    temporary name is unique, so that two programs never write one file. The mode of a replaced file stays,
    its owner where possible, and a symbolic link keeps pointing to its file. SourceError, an OSError, where
    no file can be made there, or the disk is full."""
    path = Path(os.path.realpath(path))
    check_file(path)
    make_folder(path.parent)
    new = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part{path.suffix}")
    try:
        new.touch(0o600 if path.exists() else 0o666, exist_ok=False)  # the system applies the umask
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
        raise _not_writable(path, error.strerror or str(error)) from None
    finally:
        with suppress(OSError):  # moved already, or a name that the system does not take
            new.unlink()


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a whole file in one step (see `atomic_path`); text as UTF-8."""
    with atomic_path(path) as new:
        new.write_bytes(data.encode() if isinstance(data, str) else data)


def check_file(path: Path) -> None:
    """SourceError where no file can be written at `path`; to be called before the work of a file."""
    if os.path.isdir(path):
        raise _not_writable(path, "it is a folder", "choose a file name")
    if not os.access(_check_parents(path), os.W_OK):
        raise _not_writable(path, os.strerror(errno.EACCES))


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
        raise _not_writable(path, str(error.strerror)) from None


def _check_parents(path: Path) -> Path:
    """The innermost parent that exists; SourceError where it is a file."""
    near = next(folder for folder in path.absolute().parents if os.path.exists(folder))
    if not os.path.isdir(near):
        raise _not_writable(path, f"{near} is a file, not a folder")
    return near


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
