"""Base losses over the whole vocabulary, per token: reverse KL, forward KL, generalised JSD, top-k with a
tail.

In: log-distributions of student and teacher [..., V] (log_softmax taken, -inf allowed); out: [...], >= 0, to
descend, with gradient to the student. S is the student, T the teacher. Knows nothing about masks or sampling.
"""

import torch
from torch import Tensor

from sgopd.objectives.batch import LOGP_FLOOR


def reverse_kl(logp_s: Tensor, logp_t: Tensor) -> Tensor:
    """KL(S || T) = sum_v S (log S - log T): mode-seeking, what sampled-token OPD estimates."""
    return _kl(_floor(logp_s), _floor(logp_t.detach()))


def forward_kl(logp_s: Tensor, logp_t: Tensor) -> Tensor:
    """KL(T || S) = sum_v T (log T - log S): mass-covering, what SFT on the teacher's samples estimates."""
    return _kl(_floor(logp_t.detach()), _floor(logp_s))


def generalised_jsd(logp_s: Tensor, logp_t: Tensor, beta: float = 0.5) -> Tensor:
    """beta KL(T || M) + (1 - beta) KL(S || M), M = beta T + (1 - beta) S, 0 < beta < 1; symmetric at 1/2.

    Divided by beta it tends to the forward KL at beta -> 0, by 1 - beta to the reverse KL at beta -> 1.
    GKD, https://arxiv.org/abs/2306.13649
    """
    if not 0 < beta < 1:
        raise ValueError(f"beta = {beta}: must lie inside (0, 1); use forward_kl or reverse_kl for the ends")
    s, t = _floor(logp_s), _floor(logp_t.detach())
    weight = s.new_tensor([beta, 1 - beta]).log()
    mixture = torch.logaddexp(t + weight[0], s + weight[1])
    return beta * _kl(t, mixture) + (1 - beta) * _kl(s, mixture)


def top_k_with_tail(logp_s: Tensor, logp_t: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Both distributions over the teacher's k most likely tokens and one bucket for the rest, [..., k + 1]
    each.

    A divergence of the pair is a lower bound of the full one (data processing); without the bucket it would
    not be a divergence. The tail is a sum of the other probabilities, not 1 - the top's, which cancels for
    peaked teachers.
    """
    if not 0 < k < logp_t.shape[-1]:
        raise ValueError(f"k = {k}: must be at least 1 and below the vocabulary's size {logp_t.shape[-1]}")
    top = logp_t.topk(k, dim=-1).indices
    return _with_tail(logp_s, top), _with_tail(logp_t.detach(), top)


def _with_tail(logp: Tensor, top: Tensor) -> Tensor:
    rest = _floor(logp).scatter(-1, top, LOGP_FLOOR)
    return torch.cat([logp.gather(-1, top), rest.logsumexp(-1, keepdim=True)], dim=-1)


def _kl(logp: Tensor, logq: Tensor) -> Tensor:
    return (logp.exp() * (logp - logq)).sum(-1)


def _floor(logp: Tensor) -> Tensor:
    """0 * -inf is NaN: a floor keeps impossible tokens at probability 0 and a finite log."""
    return logp.clamp_min(LOGP_FLOOR)
