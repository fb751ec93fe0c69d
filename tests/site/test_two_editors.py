"""A site file that two pages, or a page and an editor, change: nothing is lost or overwritten without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgevid.errors import InputError
from edgevid.files import atomic, write_atomic
from edgevid.site import file
from edgevid.site.file import read_shapes, read_site, write_gate, write_zones
from edgevid.zones import Line, Zone

A, B, C = (Zone(name, [(0, 0), (90, 0), (90, 90)]) for name in "abc")
GATE = Line("gate", (0, 5), (90, 5))


def names(path: Path) -> list[str]:
    site = read_site(path)
    return [one.name for one in (*site.zones, *site.lines)]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "gate.toml"
    path.write_text('# mine\nsource = "gate.mp4"\n')
    write_zones(path, (A,), (GATE,))
    return path


def test_two_pages_keep_each_others_zones(site: Path) -> None:
    first, second = read_shapes(site), read_shapes(site)
    first = write_zones(site, (A, B), (GATE,), before=((A,), (GATE,)), known=first)
    second = write_zones(site, (A, C), (), before=((A,), (GATE,)), known=second)  # which deletes the line
    assert names(site) == ["a", "b", "c"]
    write_zones(site, (), (GATE,), before=((A, B), (GATE,)), known=first | {"c": second["c"]})
    assert names(site) == ["c"]
    assert site.read_text().startswith("# mine\nsource")


def test_what_an_editor_wrote_meanwhile_stays_or_is_named(site: Path) -> None:
    known = read_shapes(site)
    write_atomic(site, site.read_text().replace("90", "80") + "\n[camera]\nspeed_limit_kmh = 30\n")
    write_zones(site, (A, B), (GATE,), before=((A,), (GATE,)), known=known)
    assert read_site(site).zones[0].points[1] == (80, 0)
    assert read_site(site).speed_limit_kmh == 30
    moved = replace(A, points=[(1, 1), (90, 0), (90, 90)])
    text = site.read_text()
    with pytest.raises(InputError, match=r"gate\.toml: 'a' was changed there meanwhile: start edgevid again"):
        write_zones(site, (moved, B), (GATE,), before=((A, B), (GATE,)), known=known)
    assert site.read_text() == text


def test_a_file_that_changes_while_it_is_written_is_not_overwritten(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = file.edit_toml

    def edited(path: Path, tables: object) -> str:
        text = make(path, tables)  # type: ignore[arg-type]
        path.write_text("# an editor's\n")
        return text

    monkeypatch.setattr(file, "edit_toml", edited)
    with pytest.raises(InputError, match="another program wrote it at the same moment"):
        write_gate(site, 6.0)
    assert site.read_text() == "# an editor's\n"


def test_a_new_site_file_is_the_users_own_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    write_zones(path, (A,), (), header='source = "rtsp://me:secret@gate/1"')
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    write_gate(path, 5.0)
    assert path.stat().st_mode & 0o777 == 0o640
    assert atomic.claim(tmp_path, wait_s=0) > 0  # the lock was given back
