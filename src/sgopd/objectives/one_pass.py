"""Sums over tokens with their gradients in a single sweep: sum of w log pi(y), and sum of w KL(S || T) of two
heads.

In: hidden states, head weights, and token weights that need only detached quantities; out: a scalar and
per-token numbers. The logits of a block of tokens exist once: three head-sized matrix products (four for two
heads) instead of four (six). Knows nothing about models, masks or rules.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sgopd.objectives.fused import TokenLogprob, check_head, check_targets, compute_dtype

BLOCK_ELEMENTS = 40 * 2**20  # 160 MiB of float32 logits: 276 tokens at a vocabulary of 151,936
CACHED_ELEMENTS = 2**20  # what an element-wise step touches at once
CAST_ROWS = 8192  # rows of a half-precision head that exist in float32 at once

TokenWeight = Callable[[Tensor, slice], Tensor]
Divergence = Callable[[Tensor, Tensor], Tensor]
# logits of student and teacher [n, V], both free to be overwritten -> value [n], its gradient to the student's logits [n, V]
Block = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def fused_policy_gradient(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    token_weight: Tensor | TokenWeight,
    *,
    temperature: float = 1.0,
) -> tuple[Tensor, TokenLogprob]:
    """sum_n w_n log pi(y_n) (to ascend: the loss is its negative), and detached log-prob and entropy [N].

    token_weight: w [N], or a function of (detached log-prob of some rows, their slice of N) -> w of those
    rows, so that an advantage can use the live student's log-prob without another forward pass. w gets no
    gradient. Arguments and dtypes as in ``fused_logprob``, but the head's gradient is summed over blocks of
    tokens in float32. Gradients are computed now and handed out by ``backward``, which may run once.
    """
    check_head(hidden, head_weight, temperature)
    check_targets(targets, hidden, head_weight)
    gradients = _Gradients(hidden, head_weight, temperature)
    logprob, entropy, w = gradients.h.new_empty(3, targets.shape[0])
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        for rows, logits in gradients.logit_blocks(BLOCK_ELEMENTS):
            logprob[rows], entropy[rows], mass = _exponentiate(logits, targets[rows])
            w[rows] = token_weight(logprob[rows], rows) if callable(token_weight) else token_weight[rows]
            gradients.add(rows, logits, -w[rows] / mass)
            gradients.add_targets(rows, targets[rows], w[rows])
        value = (w * logprob).sum()
    return gradients.attach(value), TokenLogprob(logprob, entropy)


def fused_reverse_kl(
    hidden_s: Tensor,
    head_s: Tensor,
    hidden_t: Tensor,
    head_t: Tensor,
    *,
    token_weight: Tensor | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """sum_n w_n KL(S_n || T_n) over the vocabulary (to descend), and the detached KL of each token [N], >= 0.

    hidden_s [N, H], head_s [V, H], hidden_t [N, H'], head_t [V, H']: H' may differ, V may not (pass slices to
    leave out padding rows). token_weight: w [N], default 1. The teacher gets no gradient. ``backward`` may
    run once.
    """

    def in_place(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        return _kl_gradient(student, teacher), student

    return _over_blocks(hidden_s, head_s, hidden_t, head_t, in_place, BLOCK_ELEMENTS, token_weight, temperature)


def fused_divergence(
    hidden_s: Tensor,
    head_s: Tensor,
    hidden_t: Tensor,
    head_t: Tensor,
    divergence: Divergence,
    *,
    token_weight: Tensor | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """As ``fused_reverse_kl`` for any ``divergence`` (log S, log T [n, V]) -> [n] of full_vocab.py, e.g. ``forward_kl``.

    Differentiated by autograd one block of tokens at a time: right for every divergence, slower than the reverse KL's own.
    """

    def by_autograd(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = student.requires_grad_()
            values = divergence(leaf.log_softmax(1), teacher.log_softmax(1))
            (d_logits,) = torch.autograd.grad(values.sum(), leaf)
        student.requires_grad_(False)
        return values.detach(), d_logits

    elements = BLOCK_ELEMENTS // 8  # autograd keeps about eight copies of a block
    return _over_blocks(hidden_s, head_s, hidden_t, head_t, by_autograd, elements, token_weight, temperature)


def _over_blocks(
    hidden_s: Tensor,
    head_s: Tensor,
    hidden_t: Tensor,
    head_t: Tensor,
    block: Block,
    elements: int,
    token_weight: Tensor | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """sum_n w_n of ``block``'s values with its gradients, and the values [N]; blocks of so many logits, both heads' at once."""
    _check_heads(hidden_s, head_s, hidden_t, head_t, temperature)
    gradients = _Gradients(hidden_s, head_s, temperature)
    h_t = hidden_t.detach().to(gradients.h.dtype) / temperature
    values = h_t.new_empty(h_t.shape[0])
    w = torch.ones_like(values) if token_weight is None else token_weight.detach().to(values.dtype)
    with torch.no_grad(), torch.autocast(hidden_s.device.type, enabled=False):
        spare = None
        for rows, logits in gradients.logit_blocks(elements):
            spare = torch.empty_like(logits) if spare is None else spare
            teacher = _product(h_t[rows], head_t, spare[: logits.shape[0]])
            values[rows], d_logits = block(logits, teacher)
            gradients.add(rows, d_logits, w[rows])
        value = (w * values).sum()
    return gradients.attach(value), values


def _check_heads(hidden_s: Tensor, head_s: Tensor, hidden_t: Tensor, head_t: Tensor, temperature: float) -> None:
    check_head(hidden_s, head_s, temperature)
    check_head(hidden_t, head_t, temperature)
    if (hidden_s.shape[0], head_s.shape[0]) != (hidden_t.shape[0], head_t.shape[0]):
        raise ValueError(
            f"the student has [N, V] = [{hidden_s.shape[0]}, {head_s.shape[0]}], "
            f"the teacher [{hidden_t.shape[0]}, {head_t.shape[0]}]; both must agree"
        )


class _Gradients:
    """Gradients of a sum over tokens to hidden states and head, filled block by block; None where not required."""

    def __init__(self, hidden: Tensor, weight: Tensor, temperature: float) -> None:
        self.hidden, self.weight, self.temperature = hidden, weight, temperature
        self.h = hidden.detach().to(compute_dtype(hidden)) / temperature
        enabled = torch.is_grad_enabled()
        self.d_hidden = torch.zeros_like(self.h) if enabled and hidden.requires_grad else None
        wanted = enabled and weight.requires_grad
        self.d_weight = torch.zeros_like(weight, dtype=self.h.dtype) if wanted else None

    def logit_blocks(self, elements: int) -> Iterator[tuple[slice, Tensor]]:
        """(rows, their logits [n, V]); one buffer serves all blocks, so use each before the next."""
        N, V = self.h.shape[0], self.weight.shape[0]
        height = max(elements // V, 1)
        height = height if height < 64 else height // 64 * 64
        buffer = self.h.new_empty(min(height, N), V)
        for first in range(0, N, height):
            rows = slice(first, min(first + height, N))
            yield rows, _product(self.h[rows], self.weight, buffer[: rows.stop - first])

    def add(self, rows: slice, matrix: Tensor, factor: Tensor) -> None:
        """d_logits = factor [n, 1] * matrix [n, V]; the factor goes to the thin sides of both products."""
        scaled = factor[:, None] * self.h[rows]
        for first, W in _cast_slices(self.weight, self.h.dtype):
            columns = matrix[:, first : first + W.shape[0]]
            if self.d_hidden is not None:
                self.d_hidden[rows].addmm_(columns, W)
            if self.d_weight is not None:
                self.d_weight[first : first + W.shape[0]].addmm_(columns.T, scaled)
        if self.d_hidden is not None:
            self.d_hidden[rows] *= factor[:, None]

    def add_targets(self, rows: slice, targets: Tensor, w: Tensor) -> None:
        """d_logits = w at the target, 0 elsewhere. After ``add``, which scales what the rows hold."""
        if self.d_hidden is not None:
            self.d_hidden[rows] += w[:, None] * self.weight[targets]
        if self.d_weight is not None:
            self.d_weight.index_add_(0, targets, w[:, None] * self.h[rows])

    def attach(self, value: Tensor) -> Tensor:
        """``value`` as a node of the graph that hands out the gradients."""
        d_hidden, d_weight = self.d_hidden, self.d_weight
        if d_hidden is not None:
            d_hidden = d_hidden.div_(self.temperature).to(self.hidden.dtype)
        if d_weight is not None:
            d_weight = d_weight.to(self.weight.dtype)
        self.d_weight = None
        attached: Tensor = _WithGradients.apply(value, self.hidden, self.weight, d_hidden, d_weight)
        return attached


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        value: Tensor,
        hidden: Tensor,
        weight: Tensor,
        d_hidden: Tensor | None,
        d_weight: Tensor | None,
    ) -> Tensor:
        ctx.gradients = (d_hidden, d_weight)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor | None, Tensor | None, None, None]:
        if ctx.gradients is None:
            raise RuntimeError("gradients that were computed with the forward pass can be handed out once")
        # scaled in place and let go of, so that the head's gradient exists once
        d_hidden, d_weight = (None if d is None else d.mul_(upstream) for d in ctx.gradients)
        ctx.gradients = None
        return None, d_hidden, d_weight, None, None


def _product(h: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """h @ weight.T into ``out`` in h's dtype."""
    for first, W in _cast_slices(weight, h.dtype):
        torch.mm(h, W.T, out=out[:, first : first + W.shape[0]])
    return out


def _cast_slices(weight: Tensor, dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """(first row, rows of the head in dtype): the whole head if it has that dtype, else a slice at a time."""
    width = weight.shape[0] if weight.dtype == dtype else CAST_ROWS
    for first in range(0, weight.shape[0], width):
        yield first, weight[first : first + width].detach().to(dtype)


def _cached_slices(matrix: Tensor) -> Iterator[Tensor]:
    return iter(torch.split(matrix, max(CACHED_ELEMENTS // max(matrix.shape[0], 1), 1), dim=1))


def _exponentiate(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn ``logits`` [n, V] into e^(l - max) in place; return log-prob, entropy and the sum of the e^(l -
    max), [n].
    """
    peak = logits.amax(1)
    chosen = logits.gather(1, targets[:, None])[:, 0] - peak
    mass, moment = torch.zeros_like(peak), torch.zeros_like(peak)
    for part in _cached_slices(logits):
        part -= peak[:, None]
        exponential = part.exp()
        mass += exponential.sum(1)
        moment += part.mul_(exponential).sum(1)
        part.copy_(exponential)
    log_mass = mass.log()
    return (chosen - log_mass).clamp_max(0), (log_mass - moment / mass).clamp_min(0), mass


def _kl_gradient(student: Tensor, teacher: Tensor) -> Tensor:
    """Turn the student's logits [n, V] into d KL(S || T) / d logits = p (log p - log q - KL) in place;
    return KL [n].
    """
    student -= _logsumexp(student)[:, None]
    teacher -= _logsumexp(teacher)[:, None]
    kl = student.new_zeros(student.shape[0])
    for s, t in zip(_cached_slices(student), _cached_slices(teacher), strict=True):
        p = s.exp()
        s -= t
        t.copy_(p)
        kl += p.mul_(s).sum(1)
    for s, p in zip(_cached_slices(student), _cached_slices(teacher), strict=True):
        s.sub_(kl[:, None]).mul_(p)
    return kl.clamp_min(0)


def _logsumexp(logits: Tensor) -> Tensor:
    """Over dim 1 without a copy of the matrix, which torch.logsumexp makes."""
    peak = logits.amax(1)
    mass = sum((part - peak[:, None]).exp_().sum(1) for part in _cached_slices(logits))
    return peak + torch.as_tensor(mass).log()
