"""Divergences over the vocabulary: formula, limits, bounds, impossible tokens and gradients."""

import math

import pytest
import torch
from torch import Tensor

from sgopd.objectives import forward_kl, generalised_jsd, reverse_kl, top_k_with_tail


def pair(seed: int = 0, V: int = 9) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 3, 4, V, generator=g, dtype=torch.float64)
    return logits[0].log_softmax(-1), logits[1].log_softmax(-1)


def naive_kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def test_each_divergence_is_its_formula() -> None:
    logp_s, logp_t = pair()
    s, t = logp_s[1, 2].exp().tolist(), logp_t[1, 2].exp().tolist()
    m = [0.3 * b + 0.7 * a for a, b in zip(s, t, strict=True)]
    assert reverse_kl(logp_s, logp_t)[1, 2].item() == pytest.approx(naive_kl(s, t), rel=1e-10)
    assert forward_kl(logp_s, logp_t)[1, 2].item() == pytest.approx(naive_kl(t, s), rel=1e-10)
    jsd = generalised_jsd(logp_s, logp_t, 0.3)[1, 2].item()
    assert jsd == pytest.approx(0.3 * naive_kl(t, m) + 0.7 * naive_kl(s, m), rel=1e-10)


def test_the_jsd_tends_to_the_two_kls() -> None:
    logp_s, logp_t = pair()
    torch.testing.assert_close(
        generalised_jsd(logp_s, logp_t, 1e-6) / 1e-6, forward_kl(logp_s, logp_t), rtol=0, atol=0.03
    )
    torch.testing.assert_close(
        generalised_jsd(logp_s, logp_t, 1 - 1e-6) / 1e-6, reverse_kl(logp_s, logp_t), rtol=0, atol=0.03
    )
    torch.testing.assert_close(generalised_jsd(logp_s, logp_t), generalised_jsd(logp_t, logp_s))
    with pytest.raises(ValueError, match="beta = 1"):
        generalised_jsd(logp_s, logp_t, 1.0)


def test_sampled_token_opd_estimates_the_reverse_kl() -> None:
    logp_s, logp_t = pair()
    delta = logp_t - logp_s
    torch.testing.assert_close(-(logp_s.exp() * delta).sum(-1), reverse_kl(logp_s, logp_t))


def test_top_k_with_a_tail_is_a_pair_of_distributions_and_a_lower_bound() -> None:
    logp_s, logp_t = pair()
    full = reverse_kl(logp_s, logp_t)
    previous = torch.zeros_like(full)
    for k in (1, 3, 8):
        top_s, top_t = top_k_with_tail(logp_s, logp_t, k)
        torch.testing.assert_close(top_s.logsumexp(-1), torch.zeros(3, 4, dtype=torch.float64))
        torch.testing.assert_close(top_t.logsumexp(-1), torch.zeros(3, 4, dtype=torch.float64))
        bound = reverse_kl(top_s, top_t)
        assert bool((bound <= full + 1e-12).all() and (bound >= previous - 1e-12).all())
        previous = bound
    torch.testing.assert_close(previous, full)  # k = V - 1 leaves one token in the bucket
    with pytest.raises(ValueError, match="k = 9"):
        top_k_with_tail(logp_s, logp_t, 9)


@pytest.mark.parametrize("divergence", [reverse_kl, forward_kl, generalised_jsd])
def test_impossible_tokens_give_finite_losses_and_gradients(divergence: object) -> None:
    assert callable(divergence)
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    teacher = torch.tensor([[0.0, -torch.inf, -torch.inf, 1.0, -1e4], [0.0, 1.0, 2.0, 3.0, 4.0]])
    loss = divergence(logits.log_softmax(-1), teacher.log_softmax(-1))
    loss.sum().backward()
    assert loss.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
    top = reverse_kl(*top_k_with_tail(logits.log_softmax(-1), teacher.log_softmax(-1), 2))
    assert top.isfinite().all()


@pytest.mark.parametrize("divergence", [reverse_kl, forward_kl, generalised_jsd])
def test_gradients_reach_the_student_alone_and_pass_gradcheck(divergence: object) -> None:
    assert callable(divergence)
    g = torch.Generator().manual_seed(0)
    student = torch.randn(2, 5, generator=g, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 5, generator=g, dtype=torch.float64, requires_grad=True)
    logp_t = teacher.detach().log_softmax(-1)
    assert torch.autograd.gradcheck(lambda x: divergence(x.log_softmax(-1), logp_t), student)
    divergence(student.log_softmax(-1), teacher.log_softmax(-1)).sum().backward()
    assert teacher.grad is None
