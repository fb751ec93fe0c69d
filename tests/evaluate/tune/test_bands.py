"""Bands of image quality: thresholds of their own, certified together, and what the policy makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from score_tables import NAMES, drawn, spread

from edgevid.abstain import Policy, Settings, read_policy, write_policy
from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.page import evaluation_of
from edgevid.evaluate.tune.scores import make_table, read_scores
from edgevid.evaluate.tune.search import Target, tune
from edgevid.evaluate.verdicts import evaluate, read_tracks
from edgevid.types import Array, Reason, Scores, Tracks


def banded(tracks: int, seed: int = 0, share: float = 0.4) -> dict[str, Array]:
    """Tracks of which a share is in dark images, where some of the labels are random."""
    columns = drawn(tracks, seed=seed)
    rng = np.random.default_rng(seed)
    dark = rng.random(tracks) < share
    columns["labels"] = np.where(dark & (rng.random(tracks) < 0.05), rng.integers(0, 3, tracks), columns["labels"])
    return columns | {"bands": np.where(dark, "DARK", "OK")}


def test_a_band_has_its_own_threshold_and_the_promise_is_for_both(tmp_path: Path) -> None:
    """Dark verdicts err more often: they need a higher threshold for the same risk."""
    report = tune(make_table(banded(4000)), Target("max-risk", 0.2))
    assert report.settings.per_band["dark"] > report.settings.threshold
    dark = report.chosen_on.bands == "dark"
    for rows in (dark, ~dark):
        emitted = report.emitted & rows
        assert 0 < report.chosen_on.wrong[emitted].mean() <= 0.2
    write_policy(tmp_path / "p.toml", report.policy())
    assert read_policy(tmp_path / "p.toml").settings == report.settings
    assert ("dark", report.settings.per_band["dark"]) in evaluation_of(report).tables[
        "Thresholds by image quality"
    ].rows
    np.savez(tmp_path / "new.npz", **banded(3000, seed=5))
    found = evaluate(tmp_path / "p.toml", tmp_path / "new.npz")
    assert dict(found.tables["Promise"].rows)["promise"] == "held"
    read = read_tracks(tmp_path / "new.npz", tmp_path / "p.toml")
    assert read.emitted.mean() == pytest.approx(found.values["coverage"])


def test_a_band_with_few_tracks_is_never_emitted() -> None:
    report = tune(make_table(banded(1500, share=0.03)), Target("max-risk", 0.2))
    assert report.settings.per_band == {}
    assert any("never emitted, too few verdicts (< 100): dark" in words for words in report.warnings)
    assert not report.emitted[report.chosen_on.bands == "dark"].any()


def test_the_threshold_of_a_band_by_hand() -> None:
    """Sound: all right, so the knee is at 0. Dark: 200 verdicts, the lower half wrong: all errors go at 0.75."""
    confidence = [0.7] * 100 + [0.75] * 100 + [0.6] * 100
    columns = {"values": spread(confidence, [0] * 300).values, "labels": np.array([0] * 200 + [1] * 100)}
    bands = np.array([""] * 100 + ["dark"] * 200)
    made = tune(make_table(columns | {"bands": bands}, values="probabilities"), fit=False).settings
    assert (made.threshold, made.per_band) == (0.0, {"dark": pytest.approx(0.75)})


def test_tables_with_bands_that_cannot_be_tuned_are_named(tmp_path: Path) -> None:
    columns = banded(400)
    with pytest.raises(FileFormatError, match="OK or one of dark, blurred, overexposed, damaged"):
        make_table(columns | {"bands": np.full(400, "dim")})
    with pytest.raises(FileFormatError, match="one per track"):
        make_table(columns | {"tracks": np.arange(400) // 2, "labels": np.zeros(400, int), "bands": ["dark", ""] * 200})
    with pytest.raises(InputError, match="some rows of sound images"):
        tune(make_table(columns | {"bands": np.full(400, "dark")}))
    with pytest.raises(InputError, match=r"per_band: expected one of dark, blurred, overexposed, damaged, from 0\.5"):
        Settings(per_band={"dark": 0.2})
    path = tmp_path / "scores.csv"
    path.write_text("band,a,b\nDARK,0.9,0.1\nOK,0.8,0.2\n")
    assert read_scores(path).bands.tolist() == ["dark", ""]  # type: ignore[union-attr]


def test_the_policy_emits_in_a_band_what_reaches_its_threshold() -> None:
    policy = Policy(NAMES, Settings(0.5, per_band={"dark": 0.8}))
    tracks = Tracks.of(ids=[1, 2], boxes=[[0, 0, 9, 9]] * 2, scores=[1, 1], labels=[0, 0], match=[0, 1], age=[0, 0],
                       unseen=[0, 0])  # fmt: skip
    scores = Scores.of(ids=[1, 2], values=[[0.9, 0.05, 0.05], [0.7, 0.2, 0.1]], times=[0.0, 0.0])
    verdicts = policy.update(scores, tracks, 0.0)
    assert verdicts.labels.tolist() == [0, 0]
    dark, blurred = (policy.withheld(verdicts, one) for one in (Reason.DARK, Reason.BLURRED))
    assert (dark.labels.tolist(), list(dark.reason)) == ([0, -1], [Reason.OK, Reason.DARK])
    assert (blurred.labels.tolist(), list(blurred.reason)) == ([-1, -1], [Reason.BLURRED] * 2)
    assert policy.withheld(verdicts, Reason.OK).labels.tolist() == [0, 0]
    assert [policy.decides(one) for one in (Reason.OK, Reason.DARK, Reason.BLURRED)] == [True, True, False]
