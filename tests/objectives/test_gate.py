"""The gate's labels and policies: degenerate groups, groups of one, truncation, dead zone, guards, preserved signs."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sgopd.objectives import CONFLICT, CONSENSUS, NEUTRAL, advantage

from .batches import Inputs, as_rollouts, padded, random_inputs
from .reference import sgopd_with_options


def two_tokens(reward: list[float], group_id: list[int] | None = None, **changes: Tensor) -> Inputs:
    """Rollouts of two tokens: the teacher pushes the first up by 1 nat (r = 2), the second down by 1 (r = -3)."""
    B = len(reward)
    inputs = {
        "logp_s": torch.tensor([[-2.0, -2.0]]).expand(B, 2),
        "logp_t": torch.tensor([[-1.0, -3.0]]).expand(B, 2),
        "logp_ref": torch.tensor([[-3.0, 0.0]]).expand(B, 2),
        "reward": torch.tensor(reward),
        "group_id": torch.tensor(group_id or [0] * B),
        "mask": torch.ones(B, 2),
    }
    return inputs | changes


def test_consensus_is_where_teacher_and_verifier_push_the_same_way() -> None:
    result = advantage("sgopd", **two_tokens([1.0, 0.0]))
    assert result.gate.dtype == torch.int8
    assert result.gate.tolist() == [[CONSENSUS, CONFLICT], [CONFLICT, CONSENSUS]]
    torch.testing.assert_close(result.group_advantage, torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(result.values, torch.tensor([[1 + 0.8 * 2, -1.0], [1.0, -1 - 0.8 * 3]]))


def test_a_token_on_which_teacher_and_student_agree_exactly_is_no_consensus() -> None:
    inputs = two_tokens([1.0, 0.0])
    assert advantage("sgopd", **inputs | {"logp_t": inputs["logp_s"]}).gate.eq(CONFLICT).all()


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_degenerate_group_is_plain_opd_by_default(reward: float) -> None:
    result = advantage("sgopd", **two_tokens([reward, reward]))
    assert result.gate.eq(NEUTRAL).all()
    assert result.values.tolist() == [[1.0, -1.0]] * 2


def test_a_degenerate_group_can_use_the_raw_sign() -> None:
    inputs = two_tokens([1.0, 1.0, 0.0, 0.0], [0, 0, 1, 1])
    gate = advantage("sgopd", **inputs, degenerate_group="raw_sign").gate
    assert gate.tolist() == [[CONSENSUS, CONFLICT]] * 2 + [[CONFLICT, CONSENSUS]] * 2
    blend = advantage(
        "sgopd", **inputs, degenerate_group="raw_sign", conflict_mode="verifier_blend", lambda_conflict=1.0
    )
    assert blend.values[:, 1].tolist()[:2] == [1.0, 1.0]


def test_a_degenerate_group_can_be_skipped_and_only_that() -> None:
    inputs = two_tokens([1.0, 1.0, 1.0, 0.0], [0, 0, 1, 1])
    result = advantage("sgopd", **inputs, degenerate_group="skip")
    assert result.values[:2].tolist() == [[0.0, 0.0]] * 2
    assert torch.equal(result.values[2:], advantage("sgopd", **inputs).values[2:])
    assert result.diagnostics["active"] == 4


def test_a_constant_group_of_rewards_that_floats_cannot_average_is_still_degenerate() -> None:
    assert advantage("sgopd", **two_tokens([0.1] * 3)).gate.eq(NEUTRAL).all()


def test_a_group_of_one_is_refused_unless_the_raw_sign_is_asked_for() -> None:
    inputs = two_tokens([1.0, 0.0], [0, 1])
    with pytest.raises(ValueError, match="group_of_one: raw_sign"):
        advantage("sgopd", **inputs)
    gate = advantage("sgopd", **inputs, group_of_one="raw_sign", degenerate_group="skip").gate
    assert gate.tolist() == [[CONSENSUS, CONFLICT], [CONFLICT, CONSENSUS]]


def test_a_rollout_cut_at_the_length_limit_counts_as_wrong_by_default() -> None:
    cut = torch.tensor([True, False])
    result = advantage("sgopd", **two_tokens([1.0, 1.0]), truncated=cut)
    assert torch.equal(result.values, advantage("sgopd", **two_tokens([0.0, 1.0])).values)


def test_a_cut_rollout_can_be_left_ungated_or_masked() -> None:
    inputs, cut = two_tokens([1.0, 0.0]), torch.tensor([True, False])
    ungated = advantage("sgopd", **inputs, truncated=cut, truncated_policy="no_gate")
    assert ungated.values[0].tolist() == [1.0, -1.0]
    assert ungated.gate[0].tolist() == [NEUTRAL, NEUTRAL]
    masked = advantage("sgopd", **inputs, truncated=cut, truncated_policy="masked")
    assert masked.values[0].tolist() == [0.0, 0.0]
    plain = advantage("sgopd", **inputs)
    assert torch.equal(ungated.values[1], plain.values[1])
    assert torch.equal(masked.values[1], plain.values[1])


@pytest.mark.parametrize("rule", ["opdvr", "grpd", "rgopd", "r2opd", "shuffled_outcomes", "random_gate"])
def test_no_gate_means_plain_opd_for_every_gated_rule(rule: str) -> None:
    inputs, cut = two_tokens([1.0, 0.0]), torch.tensor([False, True])
    values = advantage(rule, **inputs, truncated=cut, truncated_policy="no_gate").values
    assert values[1].tolist() == [1.0, -1.0]


def test_the_dead_zone_is_neutral_and_plain() -> None:
    inputs = two_tokens([1.0, 0.0]) | {"logp_t": torch.tensor([[-1.0, -2.1], [-1.0, -3.0]])}
    result = advantage("sgopd", **inputs, dead_zone=0.5, lambda_conflict=0.0)
    assert result.gate[0].tolist() == [CONSENSUS, NEUTRAL]
    assert result.values[0, 1].item() == pytest.approx(-0.1)


def test_the_clip_guard_bounds_delta_and_r_and_reports_its_share() -> None:
    inputs = two_tokens([1.0, 0.0])
    result = advantage("sgopd", **inputs, guard="clip", guard_clip=0.5)
    torch.testing.assert_close(result.values, torch.tensor([[0.9, -0.5], [0.5, -0.9]]))
    assert result.diagnostics["clip_share/guard_delta"] == 1.0
    half = advantage("sgopd", **inputs, guard="clip", guard_clip=2.5).diagnostics
    assert (half["clip_share/guard_delta"], half["clip_share/guard_r"]) == (0.0, 0.5)


def test_the_soft_log_guard_keeps_signs_and_compresses() -> None:
    values = advantage("opd", **two_tokens([1.0, 0.0]), guard="soft_log").values
    torch.testing.assert_close(values[0], torch.tensor([math.log(2), -math.log(2)]))


def test_preserve_sign_zeroes_exactly_the_consensus_tokens_that_flipped() -> None:
    # the teacher is above the student (delta = 1) but far below the reference (r = -3): 1 - 2.4 < 0
    inputs = two_tokens([1.0, 0.0]) | {"logp_ref": torch.tensor([[2.0, 0.0], [2.0, 0.0]])}
    flipped = advantage("sgopd", **inputs)
    assert flipped.values[0, 0].item() == pytest.approx(-1.4)
    assert flipped.diagnostics["sign_flips"] == 0.5
    kept = advantage("sgopd", **inputs, preserve_sign=True)
    assert kept.values[0, 0].item() == 0.0
    assert kept.diagnostics["sign_flips"] == 0.0
    assert kept.diagnostics["clip_share/preserve_sign"] == 0.25
    assert torch.equal(kept.values.flatten()[1:], flipped.values.flatten()[1:])


EVERY_OPTION = st.fixed_dictionaries(
    {
        "lambda_consensus": st.floats(0, 3),
        "lambda_conflict": st.floats(0, 1),
        "beta": st.none() | st.floats(0, 1),
        "conflict_mode": st.sampled_from(["gopd", "scale", "verifier_blend", "zero"]),
        "degenerate_group": st.sampled_from(["opd", "raw_sign", "skip"]),
        "dead_zone": st.sampled_from([0.0, 0.3, 2.0]),
        "preserve_sign": st.booleans(),
        "guard": st.sampled_from(["off", "clip", "soft_log"]),
        "guard_clip": st.sampled_from([0.5, 5.0]),
        "truncated_policy": st.sampled_from(["zero_reward", "no_gate", "masked"]),
    }
)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**31), options=EVERY_OPTION)
def test_every_combination_of_options_equals_the_reference(seed: int, options: dict[str, Any]) -> None:
    inputs = random_inputs(seed)
    cut = torch.rand(len(inputs["reward"]), generator=torch.Generator().manual_seed(seed)) < 0.3
    batch = [replace(y, cut=bool(c)) for y, c in zip(as_rollouts(inputs), cut, strict=True)]
    expected = padded([sgopd_with_options(y, batch, options) for y in batch], inputs)
    values = advantage("sgopd", **inputs, truncated=cut, **options).values
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)


def test_beta_is_the_conflict_coefficient_unless_it_is_set() -> None:
    inputs = two_tokens([1.0, 0.0])
    by_lambda = advantage("sgopd", **inputs, conflict_mode="scale", lambda_conflict=0.25).values
    by_beta = advantage("sgopd", **inputs, conflict_mode="scale", beta=0.25).values
    assert torch.equal(by_lambda, by_beta)
    assert by_beta[0, 1].item() == -0.25


def test_a_padding_rollout_without_tokens_is_no_group_of_one() -> None:
    inputs = two_tokens([1.0, 0.0, 0.0], [0, 0, 9])
    inputs["mask"][2] = 0
    assert torch.equal(advantage("sgopd", **inputs).values[:2], advantage("sgopd", **two_tokens([1.0, 0.0])).values)


def test_the_diagnostics_are_shares_of_the_active_tokens() -> None:
    inputs = two_tokens([1.0, 0.0, 1.0, 1.0], [0, 0, 1, 1])
    inputs["mask"][1, 0] = 0
    got = advantage("sgopd", **inputs).diagnostics
    assert got["active"] == 7
    assert got["consensus"] == pytest.approx(2 / 7)
    assert got["conflict"] == pytest.approx(1 / 7)
    assert got["neutral"] == pytest.approx(4 / 7)
    assert got["agreement"] == pytest.approx(2 / 3)
    assert got["mass_moved"] == pytest.approx((0.8 * 2 + 0.8 * 3) / 7)


def test_every_rule_reports_the_same_gate_on_the_same_batch() -> None:
    inputs = random_inputs(0)
    keys = ("consensus", "conflict", "neutral", "agreement")
    expected = {key: advantage("sgopd", **inputs).diagnostics[key] for key in keys}
    for rule in ("opd", "grpo", "uniopd", "random_gate", "inverse_gate", "sign_only", "shuffled_outcomes"):
        got = advantage(rule, **inputs).diagnostics
        assert {key: got[key] for key in keys} == expected
        assert "mass_moved" in got and "sign_flips" in got
