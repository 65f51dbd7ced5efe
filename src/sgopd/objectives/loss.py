"""From advantages to a loss: the clipped policy gradient, and how tokens are averaged.

In: log-probs [B, T], detached advantages and masks; out: a scalar to descend and clamp shares, or the gradient's weight of
each token. Knows nothing about rules, models or optimisers.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["sequence_mean", "token_mean"]


def aggregate(x: Tensor, mask: Tensor, agg: Aggregation = "sequence_mean", total: int | None = None) -> Tensor:
    """Average ``x`` [B, T] over the mask to a scalar.

    ``sequence_mean``: mean over sequences (those with a token) of the per-sequence token mean;
    ``token_mean``: mean over all tokens. ``total``: sequences (or tokens) of the whole batch when this is one
    micro-batch of it, so that summed micro-batches give the loss of the batch. 0 for an empty mask.
    """
    mask = mask.bool()
    x = x.masked_fill(~mask, 0)
    if agg == "token_mean":
        return x.sum() / max(total if total is not None else int(mask.sum()), 1)
    if agg != "sequence_mean":
        raise ValueError(f"agg = {agg!r}: must be sequence_mean or token_mean")
    length = mask.sum(1)
    sequences = total if total is not None else int((length > 0).sum())
    return (x.sum(1) / length.clamp_min(1)).sum() / max(sequences, 1)


def aggregation_weight(mask: Tensor, agg: Aggregation, total: int) -> Tensor:
    """[B, T]: what each token counts in ``aggregate``, i.e. its gradient; 0 where the mask is."""
    mask = mask.bool()
    length = mask.sum(1, keepdim=True).clamp_min(1) if agg == "sequence_mean" else 1
    return mask / (length * max(total, 1))


def policy_loss(
    logp: Tensor,
    advantage: Tensor,
    mask: Tensor,
    *,
    logp_old: Tensor | None = None,
    logp_behaviour: Tensor | None = None,
    clip_epsilon: float = 0.2,
    importance_cap: float = 5.0,
    agg: Aggregation = "sequence_mean",
    total: int | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """L = -agg(min(rho A, clip(rho, 1 - eps, 1 + eps) A) w), METHOD section 1, to descend.

    rho = pi_S / pi_S_old, w = min(pi_train / pi_behaviour, importance_cap).
    logp: log-probs of the sampled tokens under the live student, with gradient, [B, T]. advantage: ascent
    sign. logp_old: the student's at the start of the batch; None when the batch is used once (rho = 1 with
    its gradient, no second pass). logp_behaviour: the rollout engine's; None: w = 1. Diagnostics: shares of
    active tokens on which a clamp acted, and the mismatch between trainer and rollout engine, |log pi_train -
    log pi_behaviour|.
    """
    mask = mask.bool()
    old = (logp if logp_old is None else logp_old).detach().masked_fill(~mask, 0)
    unclipped, clipped = _surrogates(logp.masked_fill(~mask, 0), advantage.detach(), old, clip_epsilon)
    n = mask.sum().clamp_min(1)
    objective = torch.minimum(unclipped, clipped)
    diagnostics = {"clip_share/ratio": float(((clipped < unclipped) & mask).sum() / n)}
    if logp_behaviour is not None:
        gap = old - logp_behaviour.detach().masked_fill(~mask, 0)
        objective = objective * _truncated_importance(gap, importance_cap)
        diagnostics |= _mismatch(gap, mask, importance_cap)
    return -aggregate(objective, mask, agg, total), diagnostics


def policy_gradient_weight(
    logp: Tensor,
    advantage: Tensor,
    *,
    logp_old: Tensor | None = None,
    logp_behaviour: Tensor,
    clip_epsilon: float = 0.2,
    importance_cap: float = 5.0,
) -> Tensor:
    """-dL / dlogp of ``policy_loss`` before the average, token by token; all arguments detached and of one shape.

    rho A w, and 0 where the clip acts: all that ``fused_policy_gradient`` needs to know of the loss.
    """
    old = logp if logp_old is None else logp_old
    unclipped, clipped = _surrogates(logp, advantage, old, clip_epsilon)
    weight = unclipped * _truncated_importance(old - logp_behaviour, importance_cap)
    return weight.masked_fill(clipped < unclipped, 0)


def _surrogates(logp: Tensor, advantage: Tensor, old: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """rho A and clip(rho) A."""
    rho = (logp - old).exp()
    return rho * advantage, rho.clamp(1 - epsilon, 1 + epsilon) * advantage


def _truncated_importance(gap: Tensor, cap: float) -> Tensor:
    """w = min(e^gap, cap), gap = log pi_train - log pi_behaviour."""
    # clamped before exp: a gap of 1e4 nats would overflow and meet a zero advantage as NaN
    return gap.clamp_max(math.log(cap)).exp()


def _mismatch(gap: Tensor, mask: Tensor, cap: float) -> dict[str, float]:
    """What to log about the gap [B, T], 0 where masked."""
    n = mask.sum().clamp_min(1)
    return {
        "clip_share/importance": float(((gap > math.log(cap)) & mask).sum() / n),
        "mismatch/mean": float(gap.abs().sum() / n),
        "mismatch/max": float(gap.abs().max()) if gap.numel() else 0.0,
    }
