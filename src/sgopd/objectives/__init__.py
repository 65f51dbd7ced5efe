"""Every objective of the field as a pure function: advantages, gate, schedules, losses, fused log-prob.

Start at ``rules/``: one short function per paper. Imports torch alone; knows no configuration, files or
devices.
"""

from sgopd.objectives import rules as _rules  # noqa: F401  importing the folder registers its rules
from sgopd.objectives.advantage import (
    Advantage,
    advantage,
    needs_reference,
    options_for,
    register,
    rules,
)
from sgopd.objectives.batch import CONFLICT, CONSENSUS, NEUTRAL, Batch
from sgopd.objectives.full_vocab import forward_kl, generalised_jsd, reverse_kl, top_k_with_tail
from sgopd.objectives.fused import TokenLogprob, fused_logprob
from sgopd.objectives.groups import prompt_weight
from sgopd.objectives.loss import (
    aggregate,
    aggregation_weight,
    policy_gradient_weight,
    policy_loss,
)
from sgopd.objectives.one_pass import fused_divergence, fused_policy_gradient, fused_reverse_kl
from sgopd.objectives.options import GatedOptions, Options, SignGateOptions
from sgopd.objectives.schedules import TeacherSchedule

__all__ = [
    "CONFLICT", "CONSENSUS", "NEUTRAL",
    "Advantage", "Batch", "GatedOptions", "Options", "SignGateOptions", "TeacherSchedule", "TokenLogprob",
    "advantage", "aggregate", "aggregation_weight", "forward_kl", "fused_divergence", "fused_logprob",
    "fused_policy_gradient", "fused_reverse_kl", "generalised_jsd", "needs_reference", "options_for",
    "policy_gradient_weight", "policy_loss", "prompt_weight", "register", "reverse_kl", "rules", "top_k_with_tail",
]  # fmt: skip
