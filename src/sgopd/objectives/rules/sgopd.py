"""SG-OPD, the sign-consistency gate, and its controls. https://arxiv.org/abs/2606.09304

Gate rule and coefficients (1.8 / 1.0) as reported; the remaining choices are ours and configurable.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sgopd.objectives.advantage import register
from sgopd.objectives.batch import CONFLICT, CONSENSUS, NEUTRAL, Batch
from sgopd.objectives.groups import permutation_within_groups
from sgopd.objectives.options import SignGateOptions


@register("sgopd", SignGateOptions, needs_reference=True)
def sgopd(b: Batch, o: SignGateOptions) -> Tensor:
    """A_t = delta_t + (lambda_consensus - 1) r_t where a_v delta_t > 0, the conflict rule elsewhere.

    Neutral tokens (a_v = 0, dead zone) are plain OPD.
    """
    consensus = b.delta + (o.lambda_consensus - 1) * b.r
    if o.preserve_sign:
        flipped = consensus.sign() * b.delta.sign() < 0  # a consensus token's delta has the sign of a_v
        b.clamps.record("preserve_sign", flipped & (b.gate == CONSENSUS))
        consensus = consensus.masked_fill(flipped, 0)
    values = torch.where(b.gate == CONFLICT, conflict_rule(b, o), b.delta)
    return torch.where(b.gate == CONSENSUS, consensus, values)


def conflict_rule(b: Batch, o: SignGateOptions) -> Tensor:
    """What a token gets where teacher and verifier disagree, [B, T]. [ours]: the paper's algebra is unknown."""
    if o.conflict_mode == "gopd":
        return b.delta + (o.lambda_conflict - 1) * b.r
    if o.conflict_mode == "scale":
        return o.blend * b.delta
    if o.conflict_mode == "verifier_blend":
        return (1 - o.blend) * b.delta + o.blend * b.signal[:, None]
    return torch.zeros_like(b.delta)


@dataclass(frozen=True)
class SeededOptions(SignGateOptions):
    """``seed``: pass another one each step, or every step draws alike."""

    seed: int = 0


@register("random_gate", SeededOptions, needs_reference=True)
def random_gate(b: Batch, o: SeededOptions) -> Tensor:
    """Control: the gate's labels shuffled over the batch's gated tokens, so the keep rate is exactly the gate's."""
    gated = b.gate != NEUTRAL
    labels = b.gate[gated]
    order = torch.randperm(labels.numel(), generator=torch.Generator().manual_seed(o.seed))
    return sgopd(replace(b, gate=b.gate.masked_scatter(gated, labels[order.to(labels.device)])), o)


@register("inverse_gate", SignGateOptions, needs_reference=True)
def inverse_gate(b: Batch, o: SignGateOptions) -> Tensor:
    """Control: consensus treated as conflict and conflict as consensus."""
    return sgopd(replace(b, gate=torch.where(b.gate == NEUTRAL, b.gate, 1 - b.gate)), o)


@dataclass(frozen=True)
class SignOnlyOptions(SignGateOptions):
    """``magnitude``: the size of every advantage, nats."""

    magnitude: float = 1.0


@register("sign_only", SignOnlyOptions, needs_reference=True)
def sign_only(b: Batch, o: SignOnlyOptions) -> Tensor:
    """Control: SG-OPD's direction with a constant magnitude, A_t = m sign(A_t^sgopd)."""
    return o.magnitude * sgopd(b, o).sign()


@register("shuffled_outcomes", SeededOptions, needs_reference=True)
def shuffled_outcomes(b: Batch, o: SeededOptions) -> Tensor:
    """Control: verdicts shuffled inside each group, so a_v keeps its distribution and loses its meaning."""
    signal = b.signal[permutation_within_groups(b.group_id, o.seed)].masked_fill(b.plain, 0)
    return sgopd(b.with_signal(signal, o.dead_zone), o)
