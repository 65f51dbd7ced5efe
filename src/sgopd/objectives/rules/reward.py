"""Rules built on the group advantage or on the calibration of rewards: GRPO and its mixtures with the teacher."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sgopd.objectives.advantage import register
from sgopd.objectives.batch import Batch
from sgopd.objectives.groups import group_sum, standardise
from sgopd.objectives.options import Options


@register("grpo")
def grpo(b: Batch, _: Options) -> Tensor:
    """A_t = A^, the same on every token of the rollout. https://arxiv.org/abs/2402.03300"""
    return b.A.expand_as(b.delta)


@dataclass(frozen=True)
class OpdGrpoOptions(Options):
    """``grpo_weight``: weight of A^ beside delta_t; the paper's mixture is 1 : 1."""

    grpo_weight: float = 1.0


@register("opd_grpo", OpdGrpoOptions)
def opd_grpo(b: Batch, o: OpdGrpoOptions) -> Tensor:
    """A_t = delta_t + w A^. https://arxiv.org/abs/2601.02780"""
    return b.delta + o.grpo_weight * b.A


@dataclass(frozen=True)
class DistilledRlOptions(Options):
    """``ratio_clip``: pi_T / pi_S is clipped to [1 / ratio_clip, ratio_clip]."""

    ratio_clip: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio_clip < 1:
            raise ValueError(f"ratio_clip = {self.ratio_clip}: must be 1 or above")


@register("distilled_rl", DistilledRlOptions)
def distilled_rl(b: Batch, o: DistilledRlOptions) -> Tensor:
    """A_t = A^ w_t, w_t = clip(pi_T / pi_S, 1/c, c) over its geometric mean in the rollout if A^ > 0, else 1.

    https://arxiv.org/abs/2607.17247
    """
    log_ratio = b.clamps.clamp("ratio", b.delta, -math.log(o.ratio_clip), math.log(o.ratio_clip))
    w = (log_ratio - b.rollout_mean(log_ratio)[:, None]).exp()
    return b.A * torch.where(b.A > 0, w, 1.0)


@dataclass(frozen=True)
class RlsdOptions(Options):
    """``e``: the ratio is clipped to 1 +- e."""

    e: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.e < 1:
            raise ValueError(f"e = {self.e}: must lie in [0, 1)")


@register("rlsd", RlsdOptions)
def rlsd(b: Batch, o: RlsdOptions) -> Tensor:
    """A_t = A^ clip(exp(sign(A^) delta_t), 1 - e, 1 + e). https://arxiv.org/abs/2604.03128"""
    # clipped as a logarithm, which is the same and cannot overflow
    log_ratio = b.clamps.clamp("ratio", b.A.sign() * b.delta, math.log(1 - o.e), math.log(1 + o.e))
    return b.A * log_ratio.exp()


@dataclass(frozen=True)
class GcOpdOptions(Options):
    """``b``: weight of the group-calibrated term."""

    b: float = 0.10


@register("gcopd", GcOpdOptions)
def gcopd(b: Batch, o: GcOpdOptions) -> Tensor:
    """A_t = delta_t + b c_t rho, rho = z(R) - z(mean_t delta) in the group, c_t = 1 + tanh(u_t / 2),
    u_t = z-score of delta_t in its rollout. GC-OPD, 2026.
    """
    mean = b.rollout_mean(b.delta)
    rho = standardise(b.reward, b.group_id) - standardise(mean, b.group_id)
    std = b.rollout_mean((b.delta - mean[:, None]).square()).sqrt()
    c = 1 + torch.tanh((b.delta - mean[:, None]) / (std[:, None] + 1e-6) / 2)
    return b.delta + o.b * c * rho[:, None]


@dataclass(frozen=True)
class UniOpdOptions(Options):
    """``d``: wanted gap between right and wrong; ``delta_limit``: tokens with |delta| above it are masked."""

    d: float = 0.4
    delta_limit: float = 10.0


@register("uniopd", UniOpdOptions)
def uniopd(b: Batch, o: UniOpdOptions) -> Tensor:
    """A_t = delta_t +- (d - m) / 2 on right / wrong rollouts of a group whose margin m is below d.

    m: mean over right minus mean over wrong of the rollouts' mean delta; groups without both are left alone.
    Masked tokens are out of the means, too. https://arxiv.org/abs/2605.03677
    """
    outlier = b.delta.abs() > o.delta_limit
    b.clamps.record("delta_limit", outlier)
    kept = b.mask & ~outlier
    mean = b.delta.masked_fill(~kept, 0).sum(1) / kept.sum(1).clamp_min(1)
    right = (b.reward > 0.5).to(mean.dtype)
    n_right, n_wrong = group_sum(right, b.group_id), group_sum(1 - right, b.group_id)
    right_mean = group_sum(right * mean, b.group_id) / n_right.clamp_min(1)
    wrong_mean = group_sum((1 - right) * mean, b.group_id) / n_wrong.clamp_min(1)
    shift = (o.d - (right_mean - wrong_mean)).clamp_min(0) / 2
    shift = shift * (n_right > 0) * (n_wrong > 0) * (2 * right - 1)
    return (b.delta + shift[:, None]).masked_fill(outlier, 0)
