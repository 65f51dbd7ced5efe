"""advantage(rule, ...): from log-probs, rewards and groups to per-token advantages [B, T], with diagnostics.

Finds the rule by name, checks its options, settles what rules share (batch.py), and measures the gate in one
place so that every rule comes with the same numbers. Knows no configuration, files, models or optimiser.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from sgopd.objectives.batch import CONFLICT, CONSENSUS, NEUTRAL, Batch, make_batch
from sgopd.objectives.options import Options, make_options

Formula = Callable[[Batch, Any], Tensor]


@dataclass(frozen=True)
class _Rule:
    formula: Formula
    options: type[Options]
    needs_reference: bool


@dataclass(frozen=True)
class Advantage:
    """What a rule gives a batch of rollouts; everything is detached.

    values: [B, T], ascent sign (positive raises the token's probability), 0 where the mask is 0.
    diagnostics: numbers for the log, see ``diagnose``.
    gate: int8 [B, T], 1 consensus (sign of the teacher's push = sign of the group advantage), 0 conflict,
    -1 neutral or masked; the same labels for every rule, controls included.
    group_advantage: [B], a_v.
    """

    values: Tensor
    diagnostics: dict[str, float]
    gate: Tensor
    group_advantage: Tensor


_RULES: dict[str, _Rule] = {}


def register(
    name: str, options: type[Options] = Options, *, needs_reference: bool = False
) -> Callable[[Formula], Formula]:
    """Decorate ``formula(batch, options) -> values [B, T]`` to make it a rule that a study can name."""

    def add(formula: Formula) -> Formula:
        if name in _RULES:
            raise ValueError(f"rule {name!r} is registered twice")
        _RULES[name] = _Rule(formula, options, needs_reference)
        return formula

    return add


def rules() -> Mapping[str, type[Options]]:
    """Every rule's name and its options dataclass (fields, types and defaults)."""
    return MappingProxyType({name: rule.options for name, rule in sorted(_RULES.items())})


def needs_reference(rule: str) -> bool:
    """Whether the rule reads logp_ref; if not, pass ``logp_ref=None`` and save the reference's forward pass."""
    return _find(rule).needs_reference


def options_for(rule: str, **options: object) -> Options:
    """The rule's options, checked; ValueError names the rule, the key and what is allowed."""
    return make_options(rule, _find(rule).options, dict(options))


@torch.no_grad()
def advantage(
    rule: str,
    *,
    logp_s: Tensor,
    logp_t: Tensor,
    logp_ref: Tensor | None,
    reward: Tensor,
    group_id: Tensor,
    mask: Tensor,
    truncated: Tensor | None = None,
    **options: object,
) -> Advantage:
    """Per-token advantages of sampled tokens under ``rule`` (a name of ``rules()``).

    logp_s, logp_t, logp_ref: [B, T], log-probs of the sampled tokens under live student, teacher and reference;
    -inf is allowed. mask: [B, T], true on response tokens. reward: [B], 1 right, 0 wrong. group_id: [B], equal for
    rollouts of one prompt; groups must be whole. truncated: bool [B], rollouts cut at the length limit.
    Raises ValueError for unknown rules or options, wrong shapes, and NaN.
    """
    checked = options_for(rule, **options)
    batch = make_batch(
        logp_s=logp_s, logp_t=logp_t, logp_ref=logp_ref, reward=reward, group_id=group_id, mask=mask,
        truncated=truncated, options=checked,
    )  # fmt: skip
    values = _find(rule).formula(batch, checked)
    values = torch.where(batch.plain[:, None], batch.delta, values)
    values = values.expand_as(batch.delta).masked_fill(~batch.mask, 0)
    return Advantage(values, diagnose(batch, values), batch.gate, batch.a_v)


def diagnose(batch: Batch, values: Tensor) -> dict[str, float]:
    """The gate and the rule's effect in numbers, all shares of active tokens unless said otherwise.

    consensus, conflict, neutral: gate labels. agreement: consensus / (consensus + conflict).
    sign_flips: share of consensus tokens whose advantage ended opposite to the group advantage.
    mass_moved: sum |A - delta| / sum |delta|. active: number of tokens. clip_share/*: where a clamp acted.
    """
    n = batch.mask.sum()
    consensus, conflict = (((batch.gate == label) & batch.mask).sum() for label in (CONSENSUS, CONFLICT))
    neutral = ((batch.gate == NEUTRAL) & batch.mask).sum()
    flipped = (batch.gate == CONSENSUS) & (batch.signal.sign()[:, None] * values.sign() < 0)
    delta = batch.delta.masked_fill(~batch.mask, 0)
    numbers = {
        "active": n,
        "consensus": consensus / n.clamp_min(1),
        "conflict": conflict / n.clamp_min(1),
        "neutral": neutral / n.clamp_min(1),
        "agreement": consensus / (consensus + conflict).clamp_min(1),
        "sign_flips": flipped.sum() / consensus.clamp_min(1),
        "mass_moved": (values - delta).abs().sum() / delta.abs().sum().clamp_min(1e-12),
    }
    numbers |= {f"clip_share/{name}": share for name, share in batch.clamps.shares.items()}
    return {name: float(number) for name, number in numbers.items()}


def _find(rule: str) -> _Rule:
    if rule not in _RULES:
        raise ValueError(f"no rule {rule!r}; there are: {', '.join(sorted(_RULES))}")
    return _RULES[rule]
