"""METHOD section 2, known properties (b), (c) and (d): where the rules coincide, and where one-state problems end."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sgopd.objectives import NEUTRAL, advantage

from .batches import Inputs, random_inputs


@pytest.mark.parametrize("seed", range(4))
def test_coefficients_of_one_are_plain_opd_bit_for_bit(seed: int) -> None:
    inputs = {k: v.float() if v.dtype == torch.float64 else v for k, v in random_inputs(seed).items()}
    ones = advantage("sgopd", **inputs, lambda_consensus=1.0, lambda_conflict=1.0)
    assert torch.equal(ones.values, advantage("opd", **inputs).values)
    assert ones.diagnostics["mass_moved"] == 0.0


@pytest.mark.parametrize("L", [0.5, 1.25, 1.8])
def test_equal_coefficients_are_exopd_outside_degenerate_groups(L: float) -> None:
    inputs = random_inputs(0)
    gated = advantage("sgopd", **inputs, lambda_consensus=L, lambda_conflict=L, degenerate_group="raw_sign")
    assert torch.equal(gated.values, advantage("exopd", **inputs, lambda_=L).values)
    with_plain = advantage("sgopd", **inputs, lambda_consensus=L, lambda_conflict=L)
    settled = with_plain.gate != NEUTRAL
    assert torch.equal(with_plain.values[settled], gated.values[settled])


def test_the_live_student_as_reference_collapses_to_scaling_delta() -> None:
    inputs = random_inputs(0)
    inputs["logp_ref"] = inputs["logp_s"]
    result = advantage("sgopd", **inputs, lambda_conflict=0.5)
    factor = torch.tensor([1.0, 0.5, 1.8], dtype=torch.float64)[result.gate.long() + 1]
    torch.testing.assert_close(result.values, factor * advantage("opd", **inputs).values)


def test_the_first_two_conflict_rules_coincide_at_one() -> None:
    inputs = random_inputs(0)
    assert torch.equal(
        advantage("sgopd", **inputs, conflict_mode="gopd").values,
        advantage("sgopd", **inputs, conflict_mode="scale").values,
    )


def test_dropping_conflicts_without_extrapolation_is_grpd_and_opdvr() -> None:
    inputs = random_inputs(0)
    raw: dict[str, Any] = {"conflict_mode": "zero", "lambda_consensus": 1.0, "degenerate_group": "raw_sign"}
    torch.testing.assert_close(advantage("sgopd", **inputs, **raw).values, advantage("opdvr", **inputs).values)
    mixed = advantage("sgopd", **inputs).gate != NEUTRAL
    grpd = advantage("grpd", **inputs).values
    torch.testing.assert_close(grpd[mixed], advantage("opdvr", **inputs).values[mixed])


def test_opposite_gates_sum_to_opd_plus_exopd() -> None:
    inputs = random_inputs(0)
    both = advantage("sgopd", **inputs).values + advantage("inverse_gate", **inputs).values
    expected = advantage("opd", **inputs).values + advantage("exopd", **inputs, lambda_=1.8).values
    settled = advantage("sgopd", **inputs).gate != NEUTRAL
    torch.testing.assert_close(both[settled], expected[settled])


PROBLEMS, ARMS = 24, 5


def one_state_problems() -> tuple[Tensor, Tensor, Tensor]:
    """Random teachers and starts, log-probs [P, K], and rewards of the arms; each problem has right and wrong arms."""
    g = torch.Generator().manual_seed(0)
    teacher = torch.randn(PROBLEMS, ARMS, generator=g, dtype=torch.float64).log_softmax(1)
    start = (0.7 * torch.randn(PROBLEMS, ARMS, generator=g, dtype=torch.float64)).log_softmax(1)
    reward = torch.randint(0, 2, (PROBLEMS, ARMS), generator=g).double()
    reward[:, 0], reward[:, 1] = 1.0, 0.0
    return teacher, start, reward


def train(rule: str, start: Tensor, steps: int = 2000, lr: float = 0.2, **options: Any) -> Tensor:
    """Follow the exact expected policy gradient; every arm is a rollout of one token, every problem a group."""
    teacher, ref, reward = one_state_problems()
    logits = start.clone()
    for _ in range(steps):
        logp = logits.log_softmax(1)
        inputs: Inputs = {
            "logp_s": logp.reshape(-1, 1), "logp_t": teacher.reshape(-1, 1), "logp_ref": ref.reshape(-1, 1),
            "reward": reward.flatten(), "group_id": torch.arange(PROBLEMS).repeat_interleave(ARMS),
            "mask": torch.ones(PROBLEMS * ARMS, 1),
        }  # fmt: skip
        A = advantage(rule, **inputs, **options).values.reshape(PROBLEMS, ARMS)
        p = logp.exp()
        logits = logits + lr * p * (A - (p * A).sum(1, keepdim=True))
    return logits.log_softmax(1)


def kl_to_teacher(logp: Tensor) -> Tensor:
    return (logp.exp() * (logp - one_state_problems()[0])).sum(1)


def position(logp: Tensor) -> Tensor:
    """Where the policy lies on the geometric path from start (0) through teacher (1) and beyond, [P]."""
    teacher, start, _ = one_state_problems()
    path, walked = teacher - start, logp - start
    path, walked = path - path.mean(1, keepdim=True), walked - walked.mean(1, keepdim=True)
    return (path * walked).sum(1) / path.square().sum(1)


@pytest.mark.parametrize("rule", ["opd", "opdvr", "grpd"])
def test_the_teacher_is_a_fixed_point_of_opd_and_of_the_rules_that_only_drop_tokens(rule: str) -> None:
    teacher = one_state_problems()[0]
    torch.testing.assert_close(train(rule, teacher, steps=20), teacher)


def test_the_sign_preserving_gate_stays_at_the_teacher_up_to_the_step_size() -> None:
    # the gate jumps at delta = 0, so the policy slides along it in steps that shrink with the learning rate
    teacher = one_state_problems()[0]
    assert kl_to_teacher(train("sgopd", teacher, steps=300, lr=0.02, preserve_sign=True)).max() < 1e-5
    exact = train("sgopd", teacher, steps=300, lr=0.2, preserve_sign=True, dead_zone=1e-9)
    torch.testing.assert_close(exact, teacher)


def test_opd_and_the_sign_preserving_gate_arrive_at_the_teacher() -> None:
    start = one_state_problems()[1]
    assert kl_to_teacher(train("opd", start)).max() < 1e-3
    assert kl_to_teacher(train("sgopd", start, preserve_sign=True)).max() < 1e-2


def test_the_literal_gate_ends_past_the_teacher_between_exopd_at_1_25_and_at_1_8() -> None:
    start = one_state_problems()[1]
    literal = train("sgopd", start)
    quarter, full = train("exopd", start), train("exopd", start, lambda_=1.8)
    assert position(quarter).median().item() == pytest.approx(1.25, abs=0.02)
    assert 1.25 < position(literal).median() < position(full).median()
    assert kl_to_teacher(quarter).median() < kl_to_teacher(literal).median() < kl_to_teacher(full).median()
