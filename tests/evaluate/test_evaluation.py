"""Intervals, comparisons, limits and exact intervals, worked by hand or against SciPy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.evaluate.evaluation import Evaluation, Figure, Table, clopper_pearson, compare, missed, poisson_interval
from edgevid.evaluate.page import page


def of_shares(right: list[int], each: int = 10, task: str = "x") -> Evaluation:
    """Groups of `each` clips, so many of them right."""
    values = np.array(right)
    groups = [f"g{n}" for n in range(len(right))]
    return Evaluation(task, groups, "scene", lambda counts: {"accuracy": float(counts @ values / counts.sum() / each)})


def test_exact_intervals_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for k in (0, 1, 3, 17, 250):
        low = stats.chi2.ppf(0.025, 2 * k) / 2 if k else 0.0
        assert poisson_interval(k) == pytest.approx((low, stats.chi2.ppf(0.975, 2 * k + 2) / 2), rel=1e-6, abs=1e-6)
    for k, n in ((0, 5), (3, 9), (9, 9)):
        found = stats.binomtest(k, n).proportion_ci(method="exact")
        assert clopper_pearson(k, n) == pytest.approx((found.low, found.high), abs=1e-6)


def test_intervals_hold_what_they_state() -> None:
    """Of 300 data sets of 8 scenes, whose clips depend on each other, about 95 % of the intervals hold the truth."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        one = of_shares([int(v) for v in rng.binomial(10, rng.beta(6, 4, 8))])
        made = Evaluation(one.task, one.groups, one.group, one.measure, draws=300).figures()["accuracy"]
        inside += made.low <= 0.6 <= made.high
    assert 0.91 <= inside / 300 <= 0.99


def test_groups_that_are_all_perfect_have_the_rule_of_three() -> None:
    assert of_shares([10] * 24).figures()["accuracy"] == Figure(1.0, 0.025 ** (1 / 24), 1.0)
    assert of_shares([0] * 24).figures()["accuracy"].high == pytest.approx(1 - 0.025 ** (1 / 24))
    assert not np.isfinite(of_shares([7]).figures()["accuracy"].low)
    assert of_shares([7]).all_notes() == ["one scene: an interval takes two"]


def test_a_difference_is_real_where_pairs_show_it_though_the_intervals_overlap() -> None:
    rng = np.random.default_rng(1)
    base = rng.integers(1, 9, 40)
    a, b = of_shares(base.tolist()), of_shares((base + 1).tolist())
    one, two = a.figures()["accuracy"], b.figures()["accuracy"]
    assert one.high > two.low
    found = compare(a, b)
    assert found.figures()["accuracy"] == pytest.approx(Figure(0.1, 0.1, 0.1))
    assert found.tables["Difference"].rows[0][-1] == "real"
    same = compare(a, a)
    assert same.tables["Difference"].rows[0][-1] == "none"
    noise = compare(a, of_shares((base + rng.choice([-1, 1], 40)).tolist()))
    assert noise.tables["Difference"].rows[0][-1] == "cannot tell"
    with pytest.raises(InputError, match="40 and 3, 3 of them in both"):
        compare(a, of_shares([1, 2, 3]))


def test_limits_are_floors_and_ceilings_in_shares_or_percent() -> None:
    one = of_shares([5, 6, 7, 8])
    figures = one.figures()
    assert missed(one, figures, ["accuracy=0.65", "ACCURACY=65%"], ["accuracy=0.65"]) == []
    assert missed(one, figures, ["accuracy=66%"], []) == ["accuracy is 65.0 %, below the floor of 66.0 %"]
    assert missed(one, figures, [], ["accuracy=0.6"]) == ["accuracy is 65.0 %, above the ceiling of 60.0 %"]
    for text, words in (("acuracy=1", "did you mean 'accuracy'"), ("accuracy=65", "or 65%"), ("accuracy", "NUMBER")):
        with pytest.raises(InputError, match=words):
            missed(one, figures, [text], [])
    undefined = Evaluation("x", ["a"], "scene", lambda _: {"accuracy": float("nan")})
    assert missed(undefined, undefined.figures(), ["accuracy=0"], [])  # what is undefined keeps no limit


def test_json_and_page_hold_every_table_and_no_nan() -> None:
    table = Table(("class", "recall %"), [("<b>", 0.5), ("car", float("nan"))])
    one = of_shares([5, 6, 7])
    one = Evaluation(
        one.task, one.groups, one.group, one.measure, tables={"By class": table}, notes=["a </script> note"]
    )
    values = json.loads(json.dumps(one.as_dict(one.figures()), allow_nan=False))
    assert values["tables"]["By class"] == [{"class": "<b>", "recall": 0.5}, {"class": "car", "recall": None}]
    assert [row["scene"] for row in values["tables"]["By scene"]] == ["g0", "g1", "g2"]
    html = page(one, one.figures(), "results", "truth", 1, ["too low"])
    assert "</script> note" not in html
    assert html.count("<script") == 2


def test_many_groups_are_listed_from_the_worst() -> None:
    found = of_shares([*range(1, 10)] * 10).all_tables()["By scene"]
    assert len(found.rows) == 20
    assert [row[1] for row in found.rows] == sorted(row[1] for row in found.rows)
