"""Files that can hold a secret: who may read them, and that nothing else in the package writes past `atomic_path`."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import edgevid
from edgevid.files import pipe, write_atomic
from edgevid.output.delivery import EVENTS, Spool
from edgevid.site.file import write_gate, write_zones
from edgevid.zones import Line

PACKAGE = Path(edgevid.__file__).parent
GATE = Line("gate", (0, 0), (9, 9))
SITE = 'source = "rtsp://admin:hunter2@gate/1"\n'
DIRECT = re.compile(r"\.write_text\(|\.write_bytes\(|\.touch\(|O_CREAT|open\([^)]*\"[wax]\+?b?\"|sqlite3\.connect\(|"
                    r"np\.savez?\w*\(|(?:torch|onnx)\.save\(|imwrite\(|shutil\.(?:copy|move)")  # fmt: skip
WRITERS = {
    "cli/console.py": "images",
    "evaluate/describe.py": "a database in memory",
    "files/pipe.py": "copies of pipes, in a folder of mode 700",
    "insight/improve.py": "model files",
    "insight/label_errors.py": "a database in memory",
    "insight/review.py": "decisions, and names of reviewers; the addresses of cameras are masked",
    "learn/detector/data.py": "images and labels",
    "learn/detector/export.py": "model files",
    "models/download.py": "model files",
    "optimize/export.py": "model files",
    "output/dataset.py": "labels",
    "output/delivery.py": "the spool, of mode 600",
    "output/records.py": "records, in which the addresses of cameras are masked",
    "output/recordings.py": "videos",
    "output/recordings_folder.py": "videos",
    "output/review.py": "crops, and records in which the addresses of cameras are masked",
    "output/tables.py": "events, in which the addresses of cameras are masked",
    "report/store.py": "events, in a temporary folder",
    "video/writer.py": "videos",
}
"""What files hold that are written in place or line by line."""


def test_every_writer_is_known() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        if any(DIRECT.search(line) and not re.search(r"\bnew\b|\bfile, ", line) for line in lines):
            found.add(path.relative_to(PACKAGE).as_posix())
    assert found == WRITERS.keys()  # a new one: may it hold a secret? SECURITY.md has a table


REWRITES: dict[str, Callable[[Path], object]] = {
    "a zone that is drawn": lambda path: write_zones(path, [], [GATE]),
    "a threshold that is tuned": lambda path: write_gate(path, 0.5),
    "any file that is replaced": lambda path: write_atomic(path, path.read_text() + "# more\n"),
}


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("bits", [0o600, 0o640])
def test_a_rewritten_file_keeps_mode_owner_and_link(tmp_path: Path, name: str, bits: int) -> None:
    (tmp_path / "store").mkdir()
    real, link = tmp_path / "store" / "gate.toml", tmp_path / "gate.toml"
    real.write_text(SITE)
    real.chmod(bits)
    link.symlink_to(real)
    owner = (1234, 4321) if os.getuid() == 0 else (os.getuid(), os.getgid())  # only root may give a file away
    os.chown(real, *owner)
    REWRITES[name](link)
    assert link.is_symlink()
    assert real.read_text().startswith(SITE)
    assert len(real.read_text()) > len(SITE)
    assert real.stat().st_mode & 0o777 == bits
    assert (real.stat().st_uid, real.stat().st_gid) == owner
    assert [one.name for one in real.parent.iterdir()] == ["gate.toml"]


def test_new_files_with_secrets_are_of_their_user_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_zones(tmp_path / "new.toml", [], [GATE], header=SITE)
        spool = Spool(tmp_path / "spool")
        spool.append([b"{}\n"])
        os.mkfifo(tmp_path / "token")
        threading.Thread(target=(tmp_path / "token").write_text, args=["secret"], daemon=True).start()
        copy = pipe.readable(tmp_path / "token")
    finally:
        os.umask(old)
    assert copy.read_text() == "secret"
    assert copy.parent.stat().st_mode & 0o077 == 0
    files = [tmp_path / "new.toml", *(tmp_path / "spool").glob(f"{EVENTS}*")]
    assert len(files) > 1
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * len(files)
    spool.close()
