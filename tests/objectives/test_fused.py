"""The fused operations against full logits in float64: values, gradients, dtypes, slices, and memory of the
logits.

Stated tolerances: float64 1e-10; float32 2e-5 absolute in nats for log-prob and entropy and 1e-4 relative (of
the largest entry) for gradients; bfloat16 inputs are exact to their own rounding: the same tolerance on the
values, 1 % on the gradients that are returned in bfloat16.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sgopd.objectives import (
    forward_kl,
    fused,
    fused_divergence,
    fused_logprob,
    fused_policy_gradient,
    fused_reverse_kl,
    generalised_jsd,
    one_pass,
    reverse_kl,
    top_k_with_tail,
)

N, H, V = 13, 8, 101


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices so small that every loop turns several times, with a rest."""
    monkeypatch.setattr(fused, "SLICE_ELEMENTS", 7 * N)
    monkeypatch.setattr(fused, "NARROWEST_SLICE", 3)
    monkeypatch.setattr(one_pass, "BLOCK_ELEMENTS", 4 * V)
    monkeypatch.setattr(one_pass, "CACHED_ELEMENTS", 4 * 9)
    monkeypatch.setattr(one_pass, "CAST_ROWS", 17)


def inputs(dtype: torch.dtype, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """hidden, head, targets, token weights; the head is a leaf as in a model."""
    g = torch.Generator().manual_seed(seed)
    hidden = (scale * torch.randn(N, H, generator=g)).to(dtype).requires_grad_()
    head = torch.randn(V, H, generator=g).to(dtype).requires_grad_()
    return (
        hidden,
        head,
        torch.randint(0, V, (N,), generator=g),
        torch.randn(N, generator=g, dtype=torch.float64),
    )


def naive(hidden: Tensor, head: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Full logits in float64."""
    log_p = (hidden.double() @ head.double().T / temperature).log_softmax(-1)
    return log_p.gather(1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(1)


def gradients(value: Tensor, *leaves: Tensor) -> list[Tensor]:
    return [g.double() for g in torch.autograd.grad(value, leaves)]


def assert_close(got: Tensor, expected: Tensor, relative: float) -> None:
    """Relative to the largest entry: entries near zero are sums that cancel."""
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=relative * float(expected.abs().max()))


TOLERANCE = {torch.float64: (1e-10, 1e-10), torch.float32: (2e-5, 1e-4), torch.bfloat16: (2e-5, 1e-2)}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_log_prob_entropy_and_gradients_equal_full_logits_in_float64(
    dtype: torch.dtype, temperature: float, scale: float
) -> None:
    hidden, head, targets, w = inputs(dtype, scale=scale)
    of_value, of_gradient = TOLERANCE[dtype]
    got = fused_logprob(hidden, head, targets, temperature=temperature)
    logprob, entropy = naive(hidden, head, targets, temperature)
    of_logits = of_value * max(1.0, scale)  # an error in a logit grows with the logit
    assert got.logprob.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (got.logprob - logprob).abs().max() < of_logits
    assert (got.entropy - entropy).abs().max() < of_logits
    for a, b in zip(
        gradients((w * got.logprob + w.flip(0) * got.entropy).sum(), hidden, head),
        gradients((w * logprob + w.flip(0) * entropy).sum(), hidden, head),
        strict=True,
    ):
        assert_close(a, b, of_gradient)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_single_pass_equals_full_logits_in_float64(dtype: torch.dtype, temperature: float) -> None:
    hidden, head, targets, w = inputs(dtype)
    of_value, of_gradient = TOLERANCE[dtype]
    value, got = fused_policy_gradient(hidden, head, targets, w, temperature=temperature)
    logprob, entropy = naive(hidden, head, targets, temperature)
    assert (got.logprob - logprob).abs().max() < of_value
    assert (got.entropy - entropy).abs().max() < of_value
    assert value.item() == pytest.approx((w * logprob).sum().item(), rel=1e-4)
    for a, b in zip(
        gradients(-3 * value, hidden, head), gradients(-3 * (w * logprob).sum(), hidden, head), strict=True
    ):
        assert_close(a, b, of_gradient)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_fused_reverse_kl_of_two_heads_equals_full_logits_in_float64(dtype: torch.dtype) -> None:
    hidden, head, _, w = inputs(dtype)
    g = torch.Generator().manual_seed(9)
    hidden_t = torch.randn(N, H + 3, generator=g).to(dtype).requires_grad_()
    head_t = torch.randn(V, H + 3, generator=g).to(dtype).requires_grad_()
    value, kl = fused_reverse_kl(hidden, head, hidden_t, head_t, token_weight=w, temperature=0.7)
    s = (hidden.double() @ head.double().T / 0.7).log_softmax(-1)
    t = (hidden_t.detach().double() @ head_t.detach().double().T / 0.7).log_softmax(-1)
    expected = (s.exp() * (s - t)).sum(1)
    of_value, of_gradient = TOLERANCE[dtype]
    assert (kl - expected).abs().max() < 3 * of_value
    value.backward()
    assert hidden_t.grad is None and head_t.grad is None
    assert hidden.grad is not None and head.grad is not None
    for a, b in zip((hidden.grad, head.grad), gradients((w * expected).sum(), hidden, head), strict=True):
        assert_close(a, b, of_gradient)
    whole, _ = fused_reverse_kl(hidden, head, hidden_t, head_t)
    assert whole.item() == pytest.approx(fused_reverse_kl(hidden, head, hidden_t, head_t)[1].sum().item())


DIVERGENCES = {
    "reverse": reverse_kl,
    "forward": forward_kl,
    "jsd": lambda s, t: generalised_jsd(s, t, 0.3),
    "top-k": lambda s, t: forward_kl(*top_k_with_tail(s, t, 5)),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_every_divergence_fused_equals_itself_on_full_logits(name: str) -> None:
    hidden, head, _, w = inputs(torch.float64)
    g = torch.Generator().manual_seed(9)
    hidden_t = torch.randn(N, H + 3, generator=g, dtype=torch.float64)
    head_t = torch.randn(V, H + 3, generator=g, dtype=torch.float64)
    divergence = DIVERGENCES[name]
    value, tokens = fused_divergence(hidden, head, hidden_t, head_t, divergence, token_weight=w, temperature=0.7)
    s, t = (h @ W.T / 0.7 for h, W in ((hidden, head), (hidden_t, head_t)))
    expected = divergence(s.log_softmax(1), t.log_softmax(1))
    torch.testing.assert_close(tokens, expected.detach())
    for a, b in zip(gradients(value, hidden, head), gradients((w * expected).sum(), hidden, head), strict=True):
        torch.testing.assert_close(a, b)


def test_the_kl_of_a_head_with_itself_is_zero_with_a_zero_gradient() -> None:
    hidden, head, _, _ = inputs(torch.float64)
    value, kl = fused_reverse_kl(hidden, head, hidden.detach(), head.detach())
    assert kl.abs().max() < 1e-12
    assert all(g.abs().max() < 1e-12 for g in gradients(value, hidden, head))


def test_gradcheck() -> None:
    hidden, head, targets, w = inputs(torch.float64)
    assert torch.autograd.gradcheck(lambda h, W: fused_logprob(h, W, targets, temperature=1.3), (hidden, head))
    # the single passes give their gradient once per forward, so numerical and analytical are compared by hand
    for operation in (
        lambda h, W: fused_policy_gradient(h, W, targets, w)[0],
        lambda h, W: fused_reverse_kl(h, W, hidden.detach().flip(0), head.detach().flip(0), token_weight=w)[0],
    ):
        analytical = gradients(operation(hidden, head), hidden, head)
        step = 1e-6 * torch.randn(N, H, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        numerical = (operation(hidden + step, head) - operation(hidden - step, head)) / 2
        torch.testing.assert_close(numerical.detach(), (analytical[0] * step).sum(), rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("frozen", ["hidden", "head"])
def test_a_frozen_side_gets_no_gradient_and_the_other_the_same(frozen: str) -> None:
    hidden, head, targets, w = inputs(torch.float64)
    expected = dict(
        zip(
            ("hidden", "head"),
            gradients((w * naive(hidden, head, targets)[0]).sum(), hidden, head),
            strict=True,
        )
    )
    leaf = {"hidden": head, "head": hidden}[frozen]
    {"hidden": hidden, "head": head}[frozen].requires_grad_(False)
    other = "head" if frozen == "hidden" else "hidden"
    values = (
        (w * fused_logprob(hidden, head, targets).logprob).sum(),
        fused_policy_gradient(hidden, head, targets, w)[0],
    )
    for value in values:
        torch.testing.assert_close(gradients(value, leaf)[0], expected[other])


def test_the_weight_may_be_a_function_of_the_live_log_prob() -> None:
    hidden, head, targets, _ = inputs(torch.float64)
    teacher = torch.linspace(-5, -1, N, dtype=torch.float64)
    value, token = fused_policy_gradient(hidden, head, targets, lambda logp, rows: teacher[rows] - logp)
    expected, _ = naive(hidden, head, targets)
    delta = (teacher - expected).detach()
    assert value.item() == pytest.approx((delta * expected).sum().item())
    torch.testing.assert_close(token.logprob, expected)
    for a, b in zip(gradients(value, hidden, head), gradients((delta * expected).sum(), hidden, head), strict=True):
        torch.testing.assert_close(a, b)


def test_a_tied_head_gets_both_gradients() -> None:
    _, embedding, targets, w = inputs(torch.float64)
    tokens = torch.arange(N)
    for value in (
        (w * fused_logprob(embedding[tokens], embedding, targets).logprob).sum(),
        fused_policy_gradient(embedding[tokens], embedding, targets, w)[0],
    ):
        expected = gradients((w * naive(embedding[tokens], embedding, targets)[0]).sum(), embedding)[0]
        torch.testing.assert_close(gradients(value, embedding)[0], expected)


def test_micro_batches_accumulate_to_the_batchs_gradient() -> None:
    hidden, head, targets, w = inputs(torch.float32)
    for rows in (slice(0, 5), slice(5, N)):
        fused_policy_gradient(hidden[rows], head, targets[rows], w[rows])[0].backward()
    accumulated = head.grad
    assert accumulated is not None
    head.grad = None
    for rows in (slice(0, 5), slice(5, N)):
        (w[rows] * fused_logprob(hidden[rows], head, targets[rows]).logprob).sum().backward()
    expected = gradients((w * naive(hidden, head, targets)[0]).sum(), head)[0]
    assert_close(accumulated, expected, 1e-4)
    assert head.grad is not None
    assert_close(head.grad, expected, 1e-4)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.0, 1.0, 1e2, 1e4]),
    dtype=st.sampled_from(list(TOLERANCE)),
)
def test_log_probs_are_never_positive_and_everything_is_finite(seed: int, scale: float, dtype: torch.dtype) -> None:
    hidden, head, _, _ = inputs(dtype, seed, scale)
    likeliest = (hidden.float() @ head.float().T).argmax(1).detach()
    token = fused_logprob(hidden, head, likeliest)
    value, single = fused_policy_gradient(hidden, head, likeliest, torch.ones(N))
    for result in (token, single):
        assert result.logprob.max() <= 0
        assert result.entropy.min() >= 0
        assert result.logprob.isfinite().all() and result.entropy.isfinite().all()
    for total in (token.logprob.sum() + token.entropy.sum(), value):
        assert all(g.isfinite().all() for g in gradients(total, hidden, head))


def test_autocast_does_not_lower_the_precision() -> None:
    hidden, head, targets, w = inputs(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        token = fused_logprob(hidden, head, targets)
        value, single = fused_policy_gradient(hidden, head, targets, w)
    expected, _ = naive(hidden, head, targets)
    for result in (token, single):
        assert (result.logprob - expected).abs().max() < 2e-5
    assert_close(gradients(value, head)[0], gradients((w * expected).sum(), head)[0], 1e-4)


def test_no_tokens_no_values_and_no_gradient() -> None:
    hidden, head, targets, w = inputs(torch.float32)
    token = fused_logprob(hidden[:0], head, targets[:0])
    value, _ = fused_policy_gradient(hidden[:0], head, targets[:0], w[:0])
    assert token.logprob.shape == token.entropy.shape == (0,)
    assert gradients(token.logprob.sum() + value, head)[0].abs().sum() == 0


def test_without_gradients_nothing_is_kept() -> None:
    hidden, head, targets, w = inputs(torch.float32)
    with torch.no_grad():
        value, token = fused_policy_gradient(hidden, head, targets, w)
    assert not value.requires_grad and not token.logprob.requires_grad


def test_a_second_backward_of_a_single_pass_says_why_it_cannot() -> None:
    hidden, head, targets, w = inputs(torch.float32)
    value, _ = fused_policy_gradient(hidden, head, targets, w)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="handed out once"):
        value.backward()


def test_wrong_shapes_targets_and_temperatures_are_refused() -> None:
    hidden, head, targets, w = inputs(torch.float32)
    with pytest.raises(ValueError, match=r"expected \[N, H\] and \[V, H\]"):
        fused_logprob(hidden[:, 1:], head, targets)
    with pytest.raises(ValueError, match="one per row"):
        fused_logprob(hidden, head, targets[1:])
    with pytest.raises(ValueError, match=r"the head has rows \[0, 101\)"):
        fused_policy_gradient(hidden, head, targets + V, w)
    with pytest.raises(ValueError, match="temperature = 0"):
        fused_logprob(hidden, head, targets, temperature=0.0)
    with pytest.raises(ValueError, match="both must agree"):
        fused_reverse_kl(hidden, head, hidden, head[1:])
