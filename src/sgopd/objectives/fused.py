"""Log-prob and entropy of sampled tokens from hidden states and the LM head, never holding the [N, V] logits.

In: hidden [N, H], head weight [V, H], targets [N]; out: float32 [N] each, differentiable. Logits exist for
one slice of the vocabulary at a time and are computed again in backward (four head-sized matrix products;
``one_pass`` needs three). Knows nothing about models, masks or rules.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SLICE_ELEMENTS = 2**23  # 32 MiB of float32 logits: full matrix-product speed, near the size of a cache
NARROWEST_SLICE = 512
FAR_BELOW = -1e30  # a first running maximum; -inf would turn 0 * -inf into NaN


class TokenLogprob(NamedTuple):
    """Per token, nats, [N]: log-prob of the target (<= 0) and entropy of the distribution (>= 0)."""

    logprob: Tensor
    entropy: Tensor


def fused_logprob(hidden: Tensor, head_weight: Tensor, targets: Tensor, *, temperature: float = 1.0) -> TokenLogprob:
    """log softmax(hidden @ head_weight.T / temperature)[targets] and that distribution's entropy, both [N].

    hidden [N, H], head_weight [V, H] (tied or not; pass a slice to leave out padding rows), targets int64 [N] in
    [0, V). bfloat16 and float16 inputs are multiplied and summed in float32, float64 in float64. Gradients go to
    hidden and to head_weight where they require one, each in its own dtype; a frozen head costs one product less.
    Peak memory above base: two slices of [N, width] (64 MiB in float32 up to N = 16,384), plus the gradients.
    """
    check_head(hidden, head_weight, temperature)
    check_targets(targets, hidden, head_weight)
    result = _FusedLogprob.apply(hidden, head_weight, targets, temperature)
    return TokenLogprob(*result)


class _FusedLogprob(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            logprob, entropy, logsumexp = _statistics(hidden, weight, targets, temperature)
        ctx.save_for_backward(hidden, weight, targets, entropy, logsumexp)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)
        return logprob, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_logprob: Tensor | None, d_entropy: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        if d_logprob is None and d_entropy is None:
            return None, None, None, None
        with torch.autocast(ctx.saved_tensors[0].device.type, enabled=False):
            return *_gradients(ctx, d_logprob, d_entropy), None, None


def _statistics(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log-prob, entropy and logsumexp [N] in one sweep over the vocabulary.

    Kept per token, with m the running maximum: mass = sum e^(l - m), moment = sum e^(l - m) (l - m).
    """
    h = hidden.to(compute_dtype(hidden)) / temperature
    peak = h.new_full(targets.shape, FAR_BELOW)
    mass, moment, chosen = (h.new_zeros(targets.shape) for _ in range(3))
    for first, W, logits, spare in _logit_slices(weight, h):
        inside, column = _locate(targets, first, W.shape[0])
        chosen = torch.where(inside, logits.gather(1, column[:, None])[:, 0], chosen)
        higher = torch.maximum(peak, logits.amax(1))
        logits -= higher[:, None]
        shift, peak = peak - higher, higher
        exponential = torch.exp(logits, out=spare)
        moment = (moment + shift * mass) * shift.exp()
        mass = mass * shift.exp() + exponential.sum(1)
        moment += exponential.mul_(logits).sum(1)
    log_mass = mass.log()
    # both bounds hold exactly in real numbers; rounding may cross them by an ulp, a peer's kernel did by more
    logprob = (chosen - peak - log_mass).clamp_max(0)
    return logprob, (log_mass - moment / mass).clamp_min(0), peak + log_mass


def _gradients(ctx: Any, d_logprob: Tensor | None, d_entropy: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """d log p_y / d l = 1[v = y] - p_v and d entropy / d l = -p_v (log p_v + entropy), times the upstream gradients."""
    hidden, weight, targets, entropy, logsumexp = ctx.saved_tensors
    h = hidden.to(compute_dtype(hidden)) / ctx.temperature
    d_hidden = torch.zeros_like(h) if ctx.needs_input_grad[0] else None
    d_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
    upstream = torch.zeros_like(logsumexp) if d_logprob is None else d_logprob
    for first, W, logits, spare in _logit_slices(weight, h):
        log_p = logits.sub_(logsumexp[:, None])
        d_logits = torch.exp(log_p, out=spare)
        if d_entropy is None:
            d_logits.mul_(-upstream[:, None])
        else:
            log_p.add_(entropy[:, None]).mul_(d_entropy[:, None]).add_(upstream[:, None])
            d_logits.mul_(log_p.neg_())
        inside, column = _locate(targets, first, W.shape[0])
        d_logits.scatter_add_(1, column[:, None], torch.where(inside, upstream, 0.0)[:, None])
        if d_hidden is not None:
            d_hidden.addmm_(d_logits, W)
        if d_weight is not None:
            d_weight[first : first + W.shape[0]] = d_logits.T @ h
    if d_hidden is not None:
        d_hidden = d_hidden.div_(ctx.temperature).to(hidden.dtype)
    return d_hidden, d_weight


def compute_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _logit_slices(weight: Tensor, h: Tensor) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """(first row, rows of the head in h's dtype [width, H], their logits [N, width], spare space of that shape).

    All slices share two buffers: a new one for each would have its pages faulted in anew.
    """
    N, V = h.shape[0], weight.shape[0]
    width = min(max(SLICE_ELEMENTS // max(N, 1), NARROWEST_SLICE), V)
    buffers = h.new_empty(2, N * width)
    for first in range(0, V, width):
        W = weight[first : first + width].to(h.dtype)
        logits, spare = (buffer[: N * W.shape[0]].view(N, W.shape[0]) for buffer in buffers)
        yield first, W, torch.mm(h, W.T, out=logits), spare


def check_head(hidden: Tensor, head_weight: Tensor, temperature: float) -> None:
    if hidden.dim() != 2 or head_weight.dim() != 2 or hidden.shape[1] != head_weight.shape[1]:
        raise ValueError(
            f"hidden has shape {tuple(hidden.shape)} and head_weight {tuple(head_weight.shape)}; "
            "expected [N, H] and [V, H]"
        )
    if not temperature > 0:
        raise ValueError(f"temperature = {temperature}: must be above 0")


def check_targets(targets: Tensor, hidden: Tensor, head_weight: Tensor) -> None:
    if targets.shape != hidden.shape[:1]:
        raise ValueError(f"targets has shape {tuple(targets.shape)}, hidden {tuple(hidden.shape)}: one per row")
    if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < head_weight.shape[0]:
        low, high = int(targets.min()), int(targets.max())
        raise ValueError(f"targets lie in [{low}, {high}], the head has rows [0, {head_weight.shape[0]})")


def _locate(targets: Tensor, first: int, width: int) -> tuple[Tensor, Tensor]:
    """Which targets lie in the slice of the vocabulary, and a valid column for each of them, [N]."""
    column = targets - first
    return (column >= 0) & (column < width), column.clamp(0, width - 1)
