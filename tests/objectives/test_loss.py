"""The loss of METHOD section 1 against a loop over tokens, and its gradient, clamps and micro-batches."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sgopd.objectives import aggregate, aggregation_weight, policy_gradient_weight, policy_loss


@pytest.fixture
def batch() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    logp = -3 * torch.rand(4, 6, generator=g, dtype=torch.float64)
    noise = torch.randn(2, 4, 6, generator=g, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([6, 3, 0, 1])[:, None]
    return {"logp": logp, "old": logp + 0.3 * noise[0], "behaviour": logp + noise[1], "mask": mask,
            "A": torch.randn(4, 6, generator=g, dtype=torch.float64)}  # fmt: skip


def naive_loss(b: dict[str, Tensor], agg: str, eps: float = 0.2, cap: float = 5.0) -> float:
    sequences = []
    for i in range(4):
        tokens = []
        for t in range(6):
            if b["mask"][i, t]:
                rho = math.exp(b["logp"][i, t] - b["old"][i, t])
                A, w = float(b["A"][i, t]), min(math.exp(b["old"][i, t] - b["behaviour"][i, t]), cap)
                tokens.append(-min(rho * A, min(max(rho, 1 - eps), 1 + eps) * A) * w)
        if tokens:
            sequences.append(tokens)
    if agg == "token_mean":
        return sum(map(sum, sequences)) / sum(map(len, sequences))
    return sum(sum(tokens) / len(tokens) for tokens in sequences) / len(sequences)


@pytest.mark.parametrize("agg", ["sequence_mean", "token_mean"])
def test_the_loss_is_the_formula_token_by_token(batch: dict[str, Tensor], agg: Any) -> None:
    loss, _ = policy_loss(
        batch["logp"],
        batch["A"],
        batch["mask"],
        logp_old=batch["old"],
        logp_behaviour=batch["behaviour"],
        agg=agg,
    )
    assert loss.item() == pytest.approx(naive_loss(batch, agg), rel=1e-12)


def test_used_once_the_gradient_is_minus_the_advantage(batch: dict[str, Tensor]) -> None:
    logp = batch["logp"].requires_grad_()
    loss, diagnostics = policy_loss(logp, batch["A"], batch["mask"], agg="token_mean")
    loss.backward()
    expected = -batch["A"].masked_fill(~batch["mask"], 0) / batch["mask"].sum()
    torch.testing.assert_close(logp.grad, expected)
    assert diagnostics == {"clip_share/ratio": 0.0}


@pytest.mark.parametrize("agg", ["sequence_mean", "token_mean"])
def test_micro_batches_with_the_batchs_total_sum_to_the_batch(batch: dict[str, Tensor], agg: Any) -> None:
    total = 3 if agg == "sequence_mean" else int(batch["mask"].sum())
    whole, _ = policy_loss(batch["logp"], batch["A"], batch["mask"], agg=agg)
    parts = [
        policy_loss(batch["logp"][i], batch["A"][i], batch["mask"][i], agg=agg, total=total)[0]
        for i in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_the_share_of_each_active_clamp_is_reported() -> None:
    logp, mask = torch.zeros(1, 4), torch.ones(1, 4)
    old = torch.tensor([[0.0, -1.0, -1.0, 0.0]])
    _, got = policy_loss(
        logp,
        torch.tensor([[1.0, 1.0, -1.0, 1.0]]),
        mask,
        logp_old=old,
        logp_behaviour=old - torch.tensor([3.0, 0, 0, 0]),
    )
    assert got["clip_share/ratio"] == 0.25  # rho > 1.2 is clipped where A > 0, not where A < 0
    assert got["clip_share/importance"] == 0.25
    assert got["mismatch/mean"] == pytest.approx(0.75)
    assert got["mismatch/max"] == 3.0


def test_an_absurd_mismatch_stays_finite() -> None:
    logp = torch.zeros(1, 2, requires_grad=True)
    loss, _ = policy_loss(logp, torch.zeros(1, 2), torch.ones(1, 2), logp_behaviour=torch.full((1, 2), -1e4))
    loss.backward()
    assert loss.isfinite() and logp.grad is not None and logp.grad.isfinite().all()


def test_an_empty_mask_is_a_zero_loss_with_a_zero_gradient() -> None:
    logp = torch.full((2, 3), -torch.inf, requires_grad=True)
    loss, _ = policy_loss(logp, torch.ones(2, 3), torch.zeros(2, 3), logp_behaviour=torch.zeros(2, 3))
    loss.backward()
    assert loss.item() == 0.0
    assert logp.grad is not None and logp.grad.eq(0).all()


@pytest.mark.parametrize("agg", ["sequence_mean", "token_mean"])
@pytest.mark.parametrize("reused", [False, True])
def test_the_token_weight_is_minus_the_gradient_of_the_loss(batch: dict[str, Tensor], agg: Any, reused: bool) -> None:
    logp, mask = batch["logp"].requires_grad_(), batch["mask"]
    old = batch["logp"].detach() + 3 * (batch["old"] - batch["logp"].detach()) if reused else None
    total = 3 if agg == "sequence_mean" else int(mask.sum())
    loss, diagnostics = policy_loss(logp, batch["A"], mask, logp_old=old, logp_behaviour=batch["behaviour"], agg=agg)
    loss.backward()
    weight = policy_gradient_weight(logp.detach(), batch["A"], logp_old=old, logp_behaviour=batch["behaviour"])
    torch.testing.assert_close(logp.grad, -weight * aggregation_weight(mask, agg, total))
    assert (diagnostics["clip_share/ratio"] > 0) == reused


@pytest.mark.parametrize("agg", ["sequence_mean", "token_mean"])
def test_what_a_token_counts_is_the_gradient_of_the_average(batch: dict[str, Tensor], agg: Any) -> None:
    x, mask = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True), batch["mask"]
    aggregate(x, mask, agg, total=7).backward()
    torch.testing.assert_close(aggregation_weight(mask, agg, 7).double(), x.grad)


def test_an_unknown_aggregation_is_refused() -> None:
    with pytest.raises(ValueError, match="sequence_mean or token_mean"):
        aggregate(torch.zeros(1, 1), torch.ones(1, 1), "sum")  # type: ignore[arg-type]
