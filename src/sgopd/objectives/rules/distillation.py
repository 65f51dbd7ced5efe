"""Rules that follow the teacher without asking the verifier: OPD, ExOPD, and SFT as an advantage."""

from dataclasses import dataclass

from torch import Tensor

from sgopd.objectives.advantage import register
from sgopd.objectives.batch import Batch
from sgopd.objectives.options import Options


@register("opd")
def opd(b: Batch, _: Options) -> Tensor:
    """A_t = delta_t; its expectation is -KL(pi_S || pi_T) at that state (reverse KL, descended)."""
    return b.delta


@dataclass(frozen=True)
class ExOpdOptions(Options):
    """``lambda_``: extrapolation past the teacher along log pi_T - log pi_ref; 1 is plain OPD."""

    lambda_: float = 1.25


@register("exopd", ExOpdOptions, needs_reference=True)
def exopd(b: Batch, o: ExOpdOptions) -> Tensor:
    """A_t = delta_t + (lambda - 1) r_t. https://arxiv.org/abs/2602.12125"""
    return b.delta + (o.lambda_ - 1) * b.r


@register("sft")
def sft(b: Batch, _: Options) -> Tensor:
    """A_t = 1[R = 1]: with ratio 1 its policy gradient is that of the NLL on V.

    Off-policy: the batch must hold the teacher's rollouts, of which the verified ones count.
    """
    return (b.reward == 1).to(b.delta.dtype)[:, None].expand_as(b.delta)
