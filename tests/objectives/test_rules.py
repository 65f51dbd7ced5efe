"""Every rule against the reference written from its formula, and every option of the gate."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from sgopd.objectives import Batch, Options, advantage, needs_reference, options_for, register, rules

from .batches import as_rollouts, padded, random_inputs
from .reference import REFERENCE, a_v, delta, implicit_reward, sgopd

RANDOM = {"random_gate", "shuffled_outcomes"}


def test_every_rule_but_the_random_controls_has_a_reference() -> None:
    assert set(rules()) - RANDOM == set(REFERENCE)


@pytest.mark.parametrize("rule", sorted(REFERENCE))
@pytest.mark.parametrize("seed", range(5))
def test_a_rule_equals_its_reference(rule: str, seed: int) -> None:
    inputs = random_inputs(seed, scale=15.0 if seed == 4 else 2.0)
    batch = as_rollouts(inputs)
    expected = padded([REFERENCE[rule](y, batch) for y in batch], inputs)
    values = advantage(rule, **inputs).values
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", sorted(REFERENCE))
def test_a_rule_in_float32_is_close_to_its_reference(rule: str) -> None:
    inputs = random_inputs(1)
    batch = as_rollouts(inputs)
    expected = padded([REFERENCE[rule](y, batch) for y in batch], inputs).float()
    floats = {name: x.float() if x.dtype == torch.float64 else x for name, x in inputs.items()}
    torch.testing.assert_close(advantage(rule, **floats).values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rule", "options", "reference_options"),
    [
        ("exopd", {"lambda_": 2.0}, {"lam": 2.0}),
        ("rgopd", {"d": 0.5}, {"d": 0.5}),
        ("r2opd", {"b": 2.0}, {"b": 2.0}),
        ("gcopd", {"b": 0.7}, {"b": 0.7}),
        ("uniopd", {"d": 1.0, "delta_limit": 0.9}, {"d": 1.0, "limit": 0.9}),
        ("distilled_rl", {"ratio_clip": 1.3}, {"c": 1.3}),
        ("rlsd", {"e": 0.5}, {"e": 0.5}),
        ("sgopd", {"lambda_consensus": 1.3, "lambda_conflict": 0.4}, {"consensus": 1.3, "conflict": 0.4}),
        *(
            ("sgopd", {"conflict_mode": mode, "lambda_conflict": 0.3}, {"mode": mode, "conflict": 0.3})
            for mode in ("gopd", "scale", "verifier_blend", "zero")
        ),
        ("sgopd", {"conflict_mode": "scale", "beta": 0.3}, {"mode": "scale", "conflict": 0.3}),
    ],
)
def test_the_options_of_a_rule_are_those_of_its_formula(
    rule: str, options: dict[str, Any], reference_options: dict[str, Any]
) -> None:
    inputs = random_inputs(2)
    batch = as_rollouts(inputs)
    expected = padded([REFERENCE[rule](y, batch, **reference_options) for y in batch], inputs)
    values = advantage(rule, **inputs, **options).values
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)


def test_opd_grpo_weighs_the_group_advantage() -> None:
    inputs = random_inputs(0)
    mixed = advantage("opd_grpo", **inputs, grpo_weight=0.5).values
    halves = advantage("opd", **inputs).values + 0.5 * advantage("grpo", **inputs).values
    torch.testing.assert_close(mixed, halves)


def test_sign_only_has_one_magnitude() -> None:
    values = advantage("sign_only", **random_inputs(0), magnitude=0.3).values
    assert set(values.abs().unique().tolist()) <= {0.0, 0.3}


def test_the_random_gate_keeps_the_gates_share_and_depends_on_its_seed_alone() -> None:
    inputs = random_inputs(3, groups=8)
    gate = advantage("sgopd", **inputs).gate

    def kept(seed: int) -> Tensor:
        values = advantage("random_gate", **inputs, conflict_mode="zero", lambda_consensus=1.0, seed=seed).values
        return (values != 0) & (gate != -1)

    assert int(kept(0).sum()) == int(kept(1).sum()) == int((gate == 1).sum())
    assert not torch.equal(kept(0), kept(1))
    assert torch.equal(kept(1), kept(1))


def test_shuffled_outcomes_are_a_permutation_of_the_verdicts_inside_each_group() -> None:
    inputs = random_inputs(0, groups=2, G=3, T=1)
    inputs["mask"][:] = True
    batch = as_rollouts(inputs)
    values = advantage("shuffled_outcomes", **inputs, seed=5).values[:, 0]
    candidates = torch.stack(
        [
            torch.tensor([sgopd(y, batch, signal=a_v(other, batch))[0] for other in batch if other.group == y.group])
            for y in batch
        ]
    )
    assert bool((values[:, None] - candidates).abs().amin(1).lt(1e-6).all())


@pytest.mark.parametrize("rule", sorted(rules()))
def test_a_rule_that_says_it_needs_no_reference_runs_without_one(rule: str) -> None:
    inputs: dict[str, Any] = random_inputs(0) | {"logp_ref": None}
    if needs_reference(rule):
        with pytest.raises(ValueError, match="needs logp_ref"):
            advantage(rule, **inputs)
    else:
        torch.testing.assert_close(advantage(rule, **inputs).values, advantage(rule, **random_inputs(0)).values)


@pytest.mark.parametrize("rule", sorted(rules()))
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_verdicts_masks_and_group_ids_may_have_any_dtype_and_any_numbers(rule: str, dtype: torch.dtype) -> None:
    inputs = random_inputs(0)
    other = {
        "reward": inputs["reward"].to(dtype), "mask": inputs["mask"].to(dtype),
        "group_id": (7 - 1000 * inputs["group_id"]).to(torch.int32),
    }  # fmt: skip
    if rule not in RANDOM:
        assert torch.equal(advantage(rule, **inputs | other).values, advantage(rule, **inputs).values)


def test_a_reserved_word_is_an_options_name_as_the_formula_writes_it() -> None:
    inputs = random_inputs(0)
    reserved = advantage("exopd", **inputs, **{"lambda": 2.0})
    assert torch.equal(reserved.values, advantage("exopd", **inputs, lambda_=2.0).values)


def test_an_unknown_rule_or_option_is_an_error_that_names_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"no rule 'opdd'.*exopd.*sgopd"):
        advantage("opdd", **random_inputs(0))
    with pytest.raises(ValueError, match=r"'exopd' has no option lambda_consensus.*lambda_"):
        advantage("exopd", **random_inputs(0), lambda_consensus=1.0)
    with pytest.raises(ValueError, match=r"conflict_mode = 'gone'.*gopd, scale, verifier_blend, zero"):
        options_for("sgopd", conflict_mode="gone")
    with pytest.raises(ValueError, match="lambda_consensus = 'big'"):
        options_for("sgopd", lambda_consensus="big")


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("sgopd", {"dead_zone": -1.0}),
        ("sgopd", {"conflict_mode": "verifier_blend", "lambda_conflict": 1.5}),
        ("sgopd", {"conflict_mode": "verifier_blend", "beta": -0.5}),
        ("sgopd", {"preserve_sign": 1}),
        ("sgopd", {"lambda_conflict": float("nan")}),
        ("opd", {"guard_clip": 0.0}),
        ("opd", {"truncated_policy": "no_gate"}),
        ("distilled_rl", {"ratio_clip": 0.5}),
        ("rlsd", {"e": 1.0}),
        ("random_gate", {"seed": 0.5}),
    ],
)
def test_an_option_out_of_range_is_refused(rule: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(reversed(options))):
        options_for(rule, **options)


def test_wrong_shapes_and_nan_are_refused_by_name() -> None:
    inputs = random_inputs(0)
    with pytest.raises(ValueError, match="logp_t has shape"):
        advantage("opd", **inputs | {"logp_t": inputs["logp_t"][:, :-1]})
    with pytest.raises(ValueError, match="reward has shape"):
        advantage("opd", **inputs | {"reward": inputs["logp_t"]})
    broken = inputs["logp_t"].clone()
    broken[1, 0] = torch.nan
    with pytest.raises(ValueError, match="logp_t is NaN at rollout 1, token 0"):
        advantage("opd", **inputs | {"logp_t": broken})
    with pytest.raises(ValueError, match="reward holds NaN"):
        advantage("opd", **inputs | {"reward": inputs["reward"] * torch.nan})


def test_log_probs_at_masked_positions_do_not_matter() -> None:
    inputs = random_inputs(0)
    dirty = {
        name: x.masked_fill(~inputs["mask"], torch.nan) if name.startswith("logp") else x for name, x in inputs.items()
    }
    assert torch.equal(advantage("sgopd", **dirty).values, advantage("sgopd", **inputs).values)


def test_values_carry_no_gradient() -> None:
    inputs = random_inputs(0)
    inputs["logp_s"].requires_grad_()
    assert not advantage("sgopd", **inputs).values.requires_grad


def test_the_reference_itself_agrees_with_numbers_worked_out_by_hand() -> None:
    inputs = random_inputs(0, groups=1, G=2, T=1) | {
        "logp_s": torch.tensor([[-1.0], [-1.0]]), "logp_t": torch.tensor([[-0.5], [-0.5]]),
        "logp_ref": torch.tensor([[-2.0], [-2.0]]), "reward": torch.tensor([1.0, 0.0]),
        "mask": torch.ones(2, 1, dtype=torch.bool),
    }  # fmt: skip
    right, wrong = as_rollouts(inputs)
    assert (delta(right), implicit_reward(right)) == ([0.5], [1.5])
    assert sgopd(right, [right, wrong]) == [0.5 + 0.8 * 1.5]
    assert sgopd(wrong, [right, wrong]) == [0.5]


@dataclass(frozen=True)
class HalfwayOptions(Options):
    share: float = 0.5


def halfway(b: Batch, o: HalfwayOptions) -> Tensor:
    """A_t = (1 - s) delta_t + s A^."""
    return (1 - o.share) * b.delta + o.share * b.A


def test_a_new_rule_is_a_decorated_formula_and_comes_with_everything_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = import_module("sgopd.objectives.advantage")
    monkeypatch.setattr(module, "_RULES", dict(module._RULES))  # forgotten after the test
    name = "halfway"
    register(name, HalfwayOptions)(halfway)
    inputs = random_inputs(0)
    result = advantage(name, **inputs, share=0.25, guard="clip", guard_clip=1.0)
    guarded = advantage("opd", **inputs, guard="clip", guard_clip=1.0)
    expected = 0.75 * guarded.values + 0.25 * advantage("grpo", **inputs).values
    torch.testing.assert_close(result.values, expected)
    assert result.diagnostics.keys() == guarded.diagnostics.keys()
    assert options_for(name) == HalfwayOptions()
    with pytest.raises(ValueError, match="registered twice"):
        register(name)(halfway)
