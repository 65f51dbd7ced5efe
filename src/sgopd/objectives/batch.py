"""What a rule sees: log-ratios [B, T], the verifier's signal [B], the gate's labels, and a log of every
clamp.

Made once per call from the seven inputs and the shared options; guards, truncation policy, degenerate groups
and hostile values (-inf, 1e4 nats) are settled here, so that a rule is only its formula. Knows no rule.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sgopd.objectives.groups import group_size, is_constant, standardise
from sgopd.objectives.options import GatedOptions, Options, SignGateOptions

LOGP_FLOOR = -1e4  # stands for -inf (a token outside the teacher's support), so that no ratio is infinite
CONSENSUS, CONFLICT, NEUTRAL = 1, 0, -1


@dataclass(frozen=True)
class ClampLog:
    """The share of active tokens on which each clamp acted: a silent clamp hides a broken run (verl#7856)."""

    mask: Tensor
    shares: dict[str, Tensor] = field(default_factory=dict)

    def record(self, name: str, acted: Tensor) -> None:
        """Log the share of active tokens at which ``acted`` [B, T] (or broadcastable) is true."""
        self.shares[name] = (acted & self.mask).sum() / self.mask.sum().clamp_min(1)

    def clamp(self, name: str, x: Tensor, low: float, high: float) -> Tensor:
        """``x.clamp(low, high)``, logged under ``name``."""
        self.record(name, (x < low) | (x > high))
        return x.clamp(low, high)


@dataclass(frozen=True)
class Batch:
    """The inputs of a rule, ascent sign. Log-ratios are guarded, finite, and 0 where the mask is false.

    delta: log pi_T - log pi_S [B, T]. raw_delta: the same, unguarded.
    mask: bool [B, T], without what the truncation and degenerate-group policies took out.
    reward, group_id, a_v: [B]; a_v is the standardised reward of the group. signal: a_v after the
    degenerate-group and truncation policies, [B]. gate: int8 [B, T]. plain: rollouts that get plain OPD
    whatever the rule, bool [B].
    """

    delta: Tensor
    raw_delta: Tensor
    log_ratio_ref: Tensor | None
    mask: Tensor
    reward: Tensor
    group_id: Tensor
    a_v: Tensor
    signal: Tensor
    gate: Tensor
    plain: Tensor
    clamps: ClampLog

    @property
    def r(self) -> Tensor:
        """Implicit reward log pi_T - log pi_ref, [B, T]; needs logp_ref."""
        if self.log_ratio_ref is None:
            raise ValueError("this rule needs logp_ref (log-probs under the reference policy), got None")
        return self.log_ratio_ref

    @property
    def z(self) -> Tensor:
        """The verdict as a sign, 2R - 1, [B, 1]."""
        return (2 * self.reward - 1)[:, None]

    @property
    def A(self) -> Tensor:
        """The group advantage, [B, 1]."""
        return self.a_v[:, None]

    def rollout_mean(self, x: Tensor) -> Tensor:
        """Mean of ``x`` [B, T] over each rollout's active tokens, [B]; 0 for an empty rollout."""
        return x.masked_fill(~self.mask, 0).sum(1) / self.mask.sum(1).clamp_min(1)

    def with_signal(self, signal: Tensor, dead_zone: float) -> "Batch":
        """The same batch, gated by another verifier signal [B]."""
        return replace(self, signal=signal, gate=gate_labels(signal, self.delta, self.mask, dead_zone))


def make_batch(
    *,
    logp_s: Tensor,
    logp_t: Tensor,
    logp_ref: Tensor | None,
    reward: Tensor,
    group_id: Tensor,
    mask: Tensor,
    truncated: Tensor | None,
    options: Options,
) -> Batch:
    """Check the inputs, apply the shared options. Computes in float32, or in float64 when a log-prob is float64."""
    dtype = torch.float64 if torch.float64 in (logp_s.dtype, logp_t.dtype) else torch.float32
    _check(logp_s=logp_s, logp_t=logp_t, logp_ref=logp_ref, reward=reward, group_id=group_id, mask=mask)
    mask = mask.bool()
    cut = torch.zeros_like(group_id, dtype=torch.bool) if truncated is None else truncated.bool()
    if options.truncated_policy == "zero_reward":
        reward = reward.masked_fill(cut, 0)
    elif options.truncated_policy == "masked":
        mask = mask & ~cut[:, None]
    plain = cut & (isinstance(options, GatedOptions) and options.truncated_policy == "no_gate")
    reward = reward.to(dtype)
    a_v = standardise(reward, group_id)
    signal = a_v
    dead_zone = 0.0
    if isinstance(options, SignGateOptions):
        signal, skipped = _settle_degenerate(a_v, reward, group_id, mask, options)
        mask = mask & ~skipped[:, None]
        dead_zone = options.dead_zone
    signal = signal.masked_fill(plain, 0)
    clamps = ClampLog(mask)
    s, t = _floor("logp_s", logp_s, dtype, clamps), _floor("logp_t", logp_t, dtype, clamps)
    raw_delta = t - s
    delta = _guard("delta", raw_delta, options, clamps)
    ratio_ref = None
    if logp_ref is not None:
        ratio_ref = _guard("r", t - _floor("logp_ref", logp_ref, dtype, clamps), options, clamps)
    gate = gate_labels(signal, delta, mask, dead_zone)
    return Batch(delta, raw_delta, ratio_ref, mask, reward, group_id, a_v, signal, gate, plain, clamps)


def gate_labels(signal: Tensor, delta: Tensor, mask: Tensor, dead_zone: float) -> Tensor:
    """g_t = 1[signal delta_t > 0], int8 [B, T]; -1 where masked, signal = 0 or |delta| < dead_zone."""
    neutral = ~mask | (signal == 0)[:, None] | (delta.abs() < dead_zone)
    # the product of signs, not of values: a tiny a_v times a tiny delta would underflow to "no agreement"
    agree = signal.sign()[:, None] * delta.sign() > 0
    return agree.to(torch.int8).masked_fill(neutral, NEUTRAL)


def _settle_degenerate(
    a_v: Tensor, reward: Tensor, group_id: Tensor, mask: Tensor, options: SignGateOptions
) -> tuple[Tensor, Tensor]:
    """The gate's signal [B], and which rollouts to skip [B]."""
    single = group_size(group_id) == 1
    if options.group_of_one == "refuse" and bool((single & mask.any(1)).any()):
        raise ValueError(
            "a group of one rollout has no group advantage, so the gate is undefined: "
            "sample at least two rollouts per prompt, or set group_of_one: raw_sign"
        )
    constant = is_constant(reward, group_id)
    raw = single | (constant & (options.degenerate_group == "raw_sign"))
    skipped = constant & ~single & (options.degenerate_group == "skip")
    return torch.where(raw, 2 * reward - 1, a_v), skipped


def _floor(name: str, logp: Tensor, dtype: torch.dtype, clamps: ClampLog) -> Tensor:
    logp = logp.detach().to(dtype).masked_fill(~clamps.mask, 0)
    if bool(logp.isnan().any()):
        row, column = logp.isnan().nonzero()[0].tolist()
        raise ValueError(f"{name} is NaN at rollout {row}, token {column}: check the model that scored it")
    return clamps.clamp(f"floor_{name}", logp, LOGP_FLOOR, -LOGP_FLOOR)


def _guard(name: str, ratio: Tensor, options: Options, clamps: ClampLog) -> Tensor:
    if options.guard == "clip":
        return clamps.clamp(f"guard_{name}", ratio, -options.guard_clip, options.guard_clip)
    return ratio.sign() * ratio.abs().log1p() if options.guard == "soft_log" else ratio


def _check(*, reward: Tensor, group_id: Tensor, mask: Tensor, **logps: Tensor | None) -> None:
    if mask.dim() != 2:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected [B, T]")
    for name, x in logps.items():
        if x is not None and x.shape != mask.shape:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, mask has {tuple(mask.shape)}; both are [B, T]")
    for name, x in (("reward", reward), ("group_id", group_id)):
        if x.shape != mask.shape[:1]:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, expected [{mask.shape[0]}], one per rollout")
    if bool(reward.isnan().any()):
        raise ValueError("reward holds NaN: a rollout without a verdict must be left out before its group is compared")
