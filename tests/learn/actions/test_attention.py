"""Attention in a window of steps, worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.heads import Positions, WindowAttention  # noqa: E402

torch.set_num_threads(1)


def plain(
    width: int = 2, heads: int = 1, window: int = 2, *, causal: bool = True, positions: Positions = "learned"
) -> WindowAttention:  # fmt: skip
    """Values pass unchanged and all steps are equally similar: the output is the mean of those that count."""
    attention = WindowAttention(width, heads, window, causal=causal, positions=positions).eval()
    with torch.no_grad():
        for layer in (attention.query, attention.key, attention.value, attention.outward):
            layer.bias.zero_()
            layer.weight.zero_()
        attention.value.weight.copy_(torch.eye(width))
        attention.outward.weight.copy_(torch.eye(width))
    return attention


def rows(*values: float, width: int = 2) -> torch.Tensor:
    """(1, T, width) with the same value in all columns."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None].repeat(1, 1, width)


def all_valid(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)


@torch.no_grad()
def test_a_causal_step_attends_to_the_last_steps_of_its_window() -> None:
    """Means of 1, (1 + 3) / 2, (3 + 8) / 2, (8 + 0) / 2."""
    x = rows(1, 3, 8, 0)
    assert plain()(x, all_valid(x))[0, :, 0].tolist() == [1, 2, 5.5, 4]


@torch.no_grad()
def test_without_causality_as_many_steps_ahead_count() -> None:
    x = rows(1, 3, 8, 4)
    found = plain(causal=False)(x, all_valid(x))[0, :, 0]
    torch.testing.assert_close(found, torch.tensor([2.0, 4.0, 5.0, 6.0]))


@torch.no_grad()
def test_padding_does_not_count_and_alone_is_finite() -> None:
    x, valid = rows(100, 3, 5), torch.tensor([[False, True, True]])
    assert plain()(x, valid)[0, 1:, 0].tolist() == [3, 4]
    assert bool(torch.isfinite(plain()(x, torch.zeros_like(valid))).all())


@torch.no_grad()
def test_the_bias_belongs_to_a_distance() -> None:
    """The step before has three times the weight: (3 + 3 * 1) / 4 and (8 + 3 * 3) / 4."""
    attention, x = plain(), rows(1, 3, 8)
    attention.bias[0, 1] = math.log(3)
    torch.testing.assert_close(attention(x, all_valid(x))[0, :, 0], torch.tensor([1.0, 1.5, 4.25]))


@torch.no_grad()
def test_sinusoidal_positions_are_linear_in_waves_of_the_distance_and_none_are_no_bias() -> None:
    """Width 2: one wave of 1 rad a step. A weight of 1 on its sine: the step before counts exp(sin 1) times as much."""
    attention, x = plain(positions="sinusoidal"), rows(1, 3)
    attention.bias[0, 0] = 1
    weight = math.exp(math.sin(1))
    assert float(attention(x, all_valid(x))[0, 1, 0]) == pytest.approx((3 + weight) / (1 + weight))
    fixed = plain(positions="none")
    assert not fixed.bias.requires_grad
    assert fixed(x, all_valid(x))[0, 1, 0] == 2


@torch.no_grad()
def test_distances_ahead_and_back_have_their_own_bias() -> None:
    """In the middle the step before weighs three times as much: (3 * 1 + 3 + 8) / 5."""
    attention, x = plain(causal=False), rows(1, 3, 8)
    assert attention.bias.shape == (1, 3)
    attention.bias[0, 2] = math.log(3)
    assert float(attention(x, all_valid(x))[0, 1, 0]) == pytest.approx(14 / 5)


@torch.no_grad()
def test_similar_steps_weigh_more_by_the_root_of_the_width() -> None:
    """Width 4: scores are products / 2. With products 1 and 1 + 2 ln 3 the weights are 1 to 3."""
    attention = plain(width=4)
    attention.query.weight.copy_(torch.eye(4))
    attention.key.weight.copy_(torch.eye(4))
    x = torch.zeros(1, 2, 4)
    x[0, :, 0] = torch.tensor([1 + 2 * math.log(3), 1.0])
    x[0, :, 1] = torch.tensor([1.0, 0.0])
    found = attention(x, all_valid(x))[0, 1]
    assert float(found[1]) == pytest.approx(0.75)


@torch.no_grad()
def test_heads_attend_apart() -> None:
    """The first head weighs the step before three times as much, the second as much."""
    attention, x = plain(heads=2), rows(0, 4)
    attention.bias[0, 1] = math.log(3)
    torch.testing.assert_close(attention(x, all_valid(x))[0, 1], torch.tensor([1.0, 2.0]))


@torch.no_grad()
def test_values_may_come_from_another_source() -> None:
    x, other = rows(1, 3), rows(10, 20)
    assert plain()(x, all_valid(x), other)[0, :, 0].tolist() == [10, 15]


@pytest.mark.parametrize("crossed", [False, True])
@torch.no_grad()
def test_one_step_at_a_time_is_the_same(crossed: bool) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(4, 2, 3, causal=True).eval()
    attention.bias.normal_()
    x = torch.randn(2, 7, 4)
    values = torch.randn(2, 7, 4) if crossed else None
    states, steps = {"count": torch.zeros(2, dtype=torch.int64), **attention.states(2)}, []
    for t in range(7):
        out, new = attention.step(x[:, t], states, None if values is None else values[:, t])
        for name, cell in new.items():
            states[name][:, :, t % 3] = cell
        states["count"] += 1
        steps.append(out)
    torch.testing.assert_close(torch.stack(steps, 1), attention(x, all_valid(x), values), atol=1e-5, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_long_videos_attend_in_blocks(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks shorter than the window, and not a divisor of the length, change nothing."""
    torch.manual_seed(0)
    attention, x = WindowAttention(4, 2, 6, causal=causal).eval(), torch.randn(2, 23, 4)
    attention.bias.normal_()
    valid = torch.rand(2, 23) > 0.2
    whole = attention(x, valid)
    monkeypatch.setattr("edgevid.learn.actions.heads.BLOCK", 5)
    torch.testing.assert_close(attention(x, valid)[valid], whole[valid], atol=1e-5, rtol=0)
