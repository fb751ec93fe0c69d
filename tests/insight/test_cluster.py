"""Clusters of series: features worked by hand, planted groups, every source, bad input."""

from __future__ import annotations

import csv
import json
import sqlite3

import numpy as np
import pytest

from edgevid.cli.command_line import run_program
from edgevid.errors import InputError, SourceError
from edgevid.insight import cluster, read_clusters, read_series
from edgevid.insight.cluster import page
from edgevid.insight.sources import PATH, SHAPE, path_features, resampled, shape_features, track_series

pytest.importorskip("sklearn")
T = np.arange(50)


def planted(count: int = 1500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Humps, 2 % of them with a gap and 2 % with a step."""
    rng = np.random.default_rng(seed)
    x = 8 * np.exp(-0.5 * ((T - 25 - rng.integers(-5, 6, count)[:, None]) / 6) ** 2) + 2
    truth = np.zeros(count, int)
    truth[:30], truth[30:60] = 1, 2
    at = rng.integers(-5, 6, count)[:, None]
    x = np.where(truth[:, None] == 1, x - 7 * ((22 + at < T) & (29 + at > T)), x)
    x = np.where(truth[:, None] == 2, x + 6 * (30 + at < T), x)
    return x + rng.normal(0, 0.2, x.shape), truth


def write_wide(path, x):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *(f"v{i}" for i in range(x.shape[1]))])
        writer.writerows([f"s{n}", *row] for n, row in enumerate(np.round(x, 4).tolist()))
    return path


def test_features_of_a_step_are_those_worked_by_hand():
    step = np.where(np.arange(20) < 10, 0.0, 4.0)[None]
    found = dict(zip(SHAPE, shape_features(step)[0].tolist(), strict=True))
    assert found["peak"] == 4
    assert found["low"] == 0
    assert found["peak_at"] == 0.5
    assert found["p50"] == 2
    assert found["width"] == 0.5
    assert found["end_minus_start"] == 4
    assert found["largest_rise"] == 4
    assert found["largest_drop"] == 0
    assert found["stops"] == 1
    assert found["mean_change"] == pytest.approx(4 / 19)
    assert found["plateau"] == 4
    assert found["peak_over_plateau"] == 1
    assert found["rise"] == found["fall"] == 0


def test_a_shift_in_time_changes_only_the_position_of_the_peak():
    humps = np.stack([8 * np.exp(-0.5 * ((T - at) / 3) ** 2) for at in (20, 25, 30)])
    found = shape_features(humps)
    moved = {name for name, column in zip(SHAPE, found.T, strict=True) if np.ptp(column) > 0.02}
    assert moved == {"peak_at", "slope"}


def test_a_path_that_turns_back_is_told_from_a_straight_one():
    there = np.column_stack([np.linspace(0, 800, 64), np.full(64, 5.0)])
    back = np.concatenate([there[::2], there[::-2]])
    straight, turned = (
        dict(zip(PATH, path_features(one[None], np.array([40.0]))[0], strict=True)) for one in (there, back)
    )
    assert straight["travel"] == pytest.approx(20)
    assert straight["straightness"] == pytest.approx(1)
    assert (straight["turn"], straight["heading_x"]) == (0, 1)
    assert turned["straightness"] < 0.1
    assert abs(turned["turn"]) == pytest.approx(np.pi, abs=1e-5)


def test_resampling_keeps_means_and_lines():
    assert resampled(np.arange(128.0)) == pytest.approx(np.arange(64) * 2 + 0.5)
    assert resampled(np.arange(8.0)) == pytest.approx(np.linspace(0, 7, 64))


def test_rare_groups_get_clusters_of_their_own(tmp_path):
    x, truth = planted()
    found = cluster(read_series(write_wide(tmp_path / "x.csv", x)))
    for group in (1, 2):
        held = np.bincount(found.labels[truth == group])
        assert held.max() / (found.labels == held.argmax()).sum() >= 0.9
        assert held.argmax() in found.order[:9]  # rare ones stand first
    assert found.sizes.sum() == len(x)
    assert len(found.tried) >= 5
    again = cluster(read_series(tmp_path / "x.csv"))
    assert (again.labels == found.labels).all()  # the seed decides


def test_saved_clusters_label_the_same_series_and_abstain_beyond_their_limits(tmp_path):
    x, _ = planted()
    found = cluster(read_series(write_wide(tmp_path / "x.csv", x)), 8)
    found.clusters.save(tmp_path / "c.toml")
    text = (tmp_path / "c.toml").read_text().replace('name = ""', 'name = "usual"', 1)
    (tmp_path / "c.toml").write_text(text)
    known = read_clusters(tmp_path / "c.toml")
    (chunk,) = read_series(tmp_path / "x.csv")
    labels, distances = known.assign(chunk.features)
    assert (labels[labels >= 0] == found.labels[labels >= 0]).all()
    assert (labels >= 0).mean() > 0.98
    assert known.names[0] == "usual"
    assert distances == pytest.approx(found.distances, abs=0.02)
    strange = chunk.features[:1].copy()
    strange[:] = known.center + 8 * known.scale * np.tile([1, -1], 13)[: len(known.center)]
    assert known.assign(strange)[0].tolist() == [-1]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_of_values_give_the_features_of_rows_of_series(tmp_path, suffix):
    arrow = pytest.importorskip("pyarrow")
    x, _ = planted(40)
    rows = {"sensor": np.repeat([f"d{i}" for i in range(40)], 50), "t": np.tile(T * 0.5, 40), "v": x.ravel()}
    long, wide = tmp_path / f"long{suffix}", write_wide(tmp_path / "wide.csv", x)
    if suffix == ".csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(arrow.table(rows), long)
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(arrow.table(rows), long)
    (a,) = read_series(wide)
    (b,) = read_series(long, id_column="sensor", time_column="t", value_column="v")
    assert b.ids == [f"d{i}" for i in range(40)]
    assert b.features[:, SHAPE.index("p50")] == pytest.approx(a.features[:, SHAPE.index("p50")], abs=1e-3)


def test_short_and_broken_series_are_left_out_and_counted(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,v\n" + "a,1\n" * 7 + "b,1\n" * 20 + "c,99\n" * 20 + "d,\n" * 20)
    (chunk,) = read_series(path, id_column="id", value_column="v", most=50)
    assert chunk.ids == ["b"]
    assert sum(chunk.left_out.values()) == 3
    with pytest.raises(InputError, match=r"at least 40 series for 4 clusters, got 1; 2 left out"):
        cluster(iter([chunk]))


def test_tracks_of_a_database_are_read_with_their_paths(tmp_path):
    from edgevid.output import SqliteSink

    SqliteSink(tmp_path / "street.db", records=True).close()
    with sqlite3.connect(tmp_path / "street.db") as base:
        for track in range(3):
            for i in range(50):
                base.execute(
                    "INSERT INTO objects (run, track, time_s, x_min, y_min, x_max, y_max, speed_mps) VALUES "
                    "('r', ?, ?, ?, 100, ?, 140, ?)",
                    (track, i / 25, 4 * i, 4 * i + 30, 99.0 if track == 2 else 10.0),
                )  # fmt: skip
    (chunk,) = read_series(tmp_path / "street.db")
    assert chunk.ids == ["r/0", "r/1"]
    assert chunk.left_out == {"faster than 250 km/h": 1}
    one = dict(zip(chunk.names, chunk.features[0].tolist(), strict=True))
    assert one["p50"] == 10
    assert one["straightness"] == pytest.approx(1)
    assert one["duration_s"] == pytest.approx(1.96)
    assert one["travel"] == pytest.approx(196 / 40, rel=0.05)


def test_without_calibration_a_track_has_heights_of_its_box_per_second():
    times, nan = np.arange(60) / 30, np.full(60, np.nan)
    points = np.column_stack([np.arange(60) * 4.0, np.full(60, 9.0)])
    features, values = track_series(times, points, np.full(60, 40.0), nan)
    assert np.median(values) == pytest.approx(120 / 40, rel=0.1)
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("id,a,b\n1,2,3\n", {}, "at least 8 columns of numbers, got 2"),
        ("id,v\na,1\nb,1\na,1\n", {"id_column": "id", "value_column": "v"}, "series a do not stand together"),
        ("id,v\na,1\n", {"id_column": "id", "value_column": "w"}, "expected one column 'w', got 0 among id, v"),
        ("id,v\na,1\n", {"id_column": "id"}, "name the column of the values"),
        ("id,v,v\na,1,1\n", {"id_column": "id", "value_column": "v"}, "expected one column 'v', got 2 among id, v, v"),
        ("id,v\na,x\n", {"id_column": "id", "value_column": "v"}, "expected numbers"),
        ("id,v\na,2020-01-01\n", {"id_column": "id", "value_column": "v"}, "expected numbers"),
        ("id,v\na,x\n", {"value_column": "v"}, "expected lists of numbers in column 'v'"),
        ("," * 20_000 + "\n", {}, "expected at most 20000 columns, got 20001"),
    ],
)
def test_files_of_another_shape_are_named(tmp_path, text, options, said):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        list(read_series(tmp_path / "x.csv", **options))


def test_wide_rows_are_converted_by_many_at_a_time_and_names_may_repeat(tmp_path):
    row = ",".join(["1.5"] * 2000) + "\n"  # 8 kB
    (tmp_path / "x.csv").write_text(",".join(["c"] * 2000) + "\n" + row * 500)
    (chunk,) = read_series(tmp_path / "x.csv")
    assert len(chunk.ids) == 500
    assert np.allclose(chunk.values, 1.5)


@pytest.mark.parametrize("name", ["", "nan", "[1]"])
def test_any_text_is_an_id(tmp_path, name):
    (tmp_path / "x.csv").write_text("id,v\n" + f"{name},2\n" * 10)
    (chunk,) = read_series(tmp_path / "x.csv", id_column="id", value_column="v")
    assert chunk.features.shape[0] == len(chunk.ids) == 1


def test_series_of_one_value_are_left_out(tmp_path):
    (tmp_path / "x.csv").write_text("id,v\n" + "".join(f"{number},2\n" for number in range(20)))
    (chunk,) = read_series(tmp_path / "x.csv", id_column="id", value_column="v")
    assert chunk.ids == []
    assert chunk.left_out == {"fewer than 8 values": 20}


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "x.parquet").write_text("no Parquet")
    (tmp_path / "x.db").write_text("no database at all")
    for path in ("x.parquet", "x.db", "none.csv"):
        with pytest.raises(SourceError):
            list(read_series(tmp_path / path))
    with pytest.raises(InputError, match="table"):
        list(read_series("postgresql://localhost/base"))


def test_the_command_writes_a_page_whose_texts_are_escaped(tmp_path, monkeypatch):
    x, _ = planted(400)
    path = write_wide(tmp_path / "a<b>.csv", x)
    path.write_text(path.read_text().replace("s7,", "=cmd<script>,"))
    monkeypatch.chdir(tmp_path)
    assert run_program("edgevid", ["cluster", str(path), "-k", "5", "--out", "out"]) == 0
    text = (tmp_path / "out/clusters.html").read_text()
    assert "=cmd<script>" not in text
    assert "a&lt;b&gt;.csv" in text
    cards = json.loads(text.split('id="data">')[1].split("</script>")[0])["cards"]
    assert len(cards) == 5
    assert all(len(card["curves"]) == len(card["nearest"]) == 5 for card in cards)
    rows = list(csv.reader((tmp_path / "out/series.csv").open()))
    assert rows[0] == ["id", "cluster", "name", "distance"]
    assert len(rows) == 401
    assert rows[8][0] == "'=cmd<script>"
    assert run_program("edgevid", ["cluster", str(path), "--out", "out"]) == 2  # exists


def test_a_page_names_what_was_left_out(tmp_path):
    x, _ = planted(200)
    x[0] = 1000
    found = cluster(read_series(write_wide(tmp_path / "x.csv", x), most=100), 4)
    assert "values outside -inf to 100" in page(found, "x")
