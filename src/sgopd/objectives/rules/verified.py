"""Rules in which the verifier selects or reweights the teacher's signal: OPDVR, GRPD, RG-OPD, R2-OPD."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sgopd.objectives.advantage import register
from sgopd.objectives.batch import Batch
from sgopd.objectives.options import GatedOptions


@register("opdvr", GatedOptions)
def opdvr(b: Batch, _: GatedOptions) -> Tensor:
    """A_t = z relu(z delta_t), z = 2R - 1. https://arxiv.org/abs/2608.24696"""
    return b.z * torch.relu(b.z * b.delta)


@register("grpd", GatedOptions)
def grpd(b: Batch, _: GatedOptions) -> Tensor:
    """A_t = s relu(s delta_t), s = sign(A^); 0 in a group that is all right or all wrong.

    https://arxiv.org/abs/2608.24696
    """
    s = b.A.sign()
    return s * torch.relu(s * b.delta)


@dataclass(frozen=True)
class RgOpdOptions(GatedOptions):
    """``d``: margin, nats by which teacher and student must differ on the whole rollout."""

    d: float = 0.0


@register("rgopd", RgOpdOptions)
def rgopd(b: Batch, o: RgOpdOptions) -> Tensor:
    """A_t = delta_t on rollouts with (A^ > 0 and L_T > L_S + d) or (A^ <= 0 and L_T < L_S - d), else 0.

    L: summed log-prob of the rollout, before the guard. https://arxiv.org/abs/2607.04037
    """
    gap = b.raw_delta.masked_fill(~b.mask, 0).sum(1)
    keep = torch.where(b.a_v > 0, gap > o.d, gap < -o.d)
    return b.delta * keep[:, None]


@dataclass(frozen=True)
class R2OpdOptions(GatedOptions):
    """``b``: sharpness of the sigmoid."""

    b: float = 1e-3


@register("r2opd", R2OpdOptions)
def r2opd(b: Batch, o: R2OpdOptions) -> Tensor:
    """A_t = Z g_t delta_t, g_t = sigmoid(b z delta_t / median |delta|), Z keeps sum |delta|.

    https://arxiv.org/abs/2609.35517. Median (the lower one) and Z over each rollout [ours], so that a
    rollout's advantages do not depend on what else is in the batch.
    """
    size = b.delta.abs().masked_fill(~b.mask, 0)
    middle = size.masked_fill(~b.mask, torch.nan).nanmedian(1, keepdim=True).values
    g = torch.sigmoid(o.b * b.z * b.delta / middle.clamp_min(torch.finfo(size.dtype).tiny))
    kept = (g * size).sum(1, keepdim=True)
    share = g * size / kept.clamp_min(torch.finfo(size.dtype).tiny)  # before the mass: Z alone can overflow
    return b.delta.sign() * share * size.sum(1, keepdim=True)
