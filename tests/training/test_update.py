"""The gradients of one update against the loss of METHOD through full logits and autograd."""

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from sgopd.config import Objective, Training
from sgopd.engines.base import Rollout
from sgopd.objectives import forward_kl, generalised_jsd, policy_loss, reverse_kl, top_k_with_tail
from sgopd.prompts.render import Prompt
from sgopd.training.batch import Batch, length_mask, pad
from sgopd.training.data import TeacherSample
from sgopd.training.update import divergence_gradient, imitation_gradient, policy_gradient
from sgopd.verifier import Verdict

PAD, G, V = 0, 2, 13
RESPONSES = [[3, 4, 5, 6, 2], [7, 2], [8] * 9, [9, 10, 2]]
WRONG = Verdict("incorrect", "", "")


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, tie_word_embeddings=True, max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).double()


@pytest.fixture
def batch() -> Batch:
    """Two groups of two ragged rollouts with random log-probs of the rollout engine."""
    g = torch.Generator().manual_seed(1)
    prompts = [Prompt(str(i // G), [5, 6, 7][: 1 + i // G], [1], "0", "", 0.0) for i in range(4)]
    rollouts = [Rollout(ids, (-6 * torch.rand(len(ids), generator=g)).tolist(), "stop") for ids in RESPONSES]
    logp_s = pad([rollout.logprobs for rollout in rollouts])
    return Batch(
        prompts, rollouts, [WRONG] * 4, group_id=torch.arange(4) // G, mask=length_mask(RESPONSES), logp_s=logp_s,
        logp_t=logp_s, logp_ref=None,
    )  # fmt: skip


def naive_logp(model: Any, prompts: list[list[int]], responses: list[list[int]]) -> Tensor:
    """[B, T] one sequence at a time, from full logits."""
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        logp = logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]
        rows.append(torch.nn.functional.pad(logp, (0, 9 - len(response))))
    return torch.stack(rows)


def gradient(model: Any) -> Tensor:
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return found


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("aggregate", ["sequence_mean", "token_mean"])
@pytest.mark.parametrize("budget", [1, 24, 10_000])
def test_the_policy_gradient_is_that_of_the_loss(
    model: Any, batch: Batch, updates: int, aggregate: Any, budget: int
) -> None:
    training = Training(
        prompts_per_step=2, group_size=G, updates_per_batch=updates, micro_batch_tokens=budget,
        objective=Objective(aggregate=aggregate, importance_cap=1.5),
    )  # fmt: skip
    A = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(2)) * batch.mask
    metrics = policy_gradient(model, batch, range(4), A, training, PAD)
    got = gradient(model)
    logp = naive_logp(model, [prompt.token_ids for prompt in batch.prompts], batch.responses)
    loss, diagnostics = policy_loss(
        logp, A, batch.mask, logp_old=batch.logp_s if updates > 1 else None, logp_behaviour=batch.logp_s,
        importance_cap=1.5, agg=aggregate,
    )  # fmt: skip
    loss.backward()
    torch.testing.assert_close(got, gradient(model), rtol=1e-4, atol=1e-6)
    assert metrics["loss/policy"] == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["clip_share/ratio"] == pytest.approx(diagnostics["clip_share/ratio"])
    assert (metrics["clip_share/ratio"] > 0) == (updates > 1)
    assert (metrics["clip_share/importance"] > 0) == (updates == 1)


@pytest.mark.parametrize("budget", [1, 10_000])
@pytest.mark.parametrize("base", ["reverse_kl", "forward_kl", "jsd"])
@pytest.mark.parametrize("top_k", [None, 3])
def test_a_base_loss_over_the_vocabulary_descends_its_mean_divergence(
    model: Any, batch: Batch, base: Any, top_k: int | None, budget: int
) -> None:
    teacher = deepcopy(model).requires_grad_(False)
    for parameter in teacher.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    objective = Objective(base=base, top_k=top_k, jsd_beta=0.3)
    training = Training(prompts_per_step=2, group_size=G, micro_batch_tokens=budget, objective=objective)
    metrics, logp_t = divergence_gradient(model, teacher, batch, range(4), training, PAD)
    got = gradient(model)
    losses = []
    for i, (prompt, response) in enumerate(zip(batch.prompts, batch.responses, strict=True)):
        s, t = (
            network(input_ids=torch.tensor([ids + response])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
            for network, ids in ((model, prompt.token_ids), (teacher, prompt.teacher_ids))
        )
        sampled = t.gather(1, torch.tensor(response)[:, None])[:, 0]
        torch.testing.assert_close(logp_t[i], torch.nn.functional.pad(sampled, (0, 9 - len(response))).float())
        pair = (s, t) if top_k is None else top_k_with_tail(s, t, top_k)
        losses.append(
            {"reverse_kl": reverse_kl, "forward_kl": forward_kl, "jsd": partial(generalised_jsd, beta=0.3)}[base](
                *pair
            ).mean()
        )
    loss = torch.stack(losses).mean()
    loss.backward()
    torch.testing.assert_close(got, gradient(model), rtol=1e-4, atol=1e-6)
    assert metrics == {"loss/policy": pytest.approx(loss.item(), rel=1e-5)}


def test_a_base_loss_over_the_vocabulary_takes_no_other_rule() -> None:
    with pytest.raises(ValueError, match="goes with rule opd"):
        Objective(base="jsd", rule="sgopd")


@pytest.mark.parametrize("budget", [1, 10_000])
def test_the_imitation_gradient_is_that_of_the_mean_nll_over_sequences(model: Any, batch: Batch, budget: int) -> None:
    samples = [
        TeacherSample(prompt, np.array(rollout.token_ids), np.array(rollout.logprobs), rollout.finish_reason, WRONG)
        for prompt, rollout in ((batch.prompts[i], batch.rollouts[i]) for i in (0, 2, 3))
    ]
    metrics = imitation_gradient(model, samples, 4, weight=0.3, token_budget=budget, pad_id=PAD)
    got = gradient(model)
    responses = [sample.response_ids for sample in samples]
    logp = naive_logp(model, [sample.prompt.token_ids for sample in samples], responses)
    nll = -sum(row[: len(ids)].mean() for row, ids in zip(logp, responses, strict=True)) / 4
    (0.3 * nll).backward()
    torch.testing.assert_close(got, gradient(model), rtol=1e-4, atol=1e-6)
    assert metrics == {"loss/imitation": pytest.approx(nll.item())}


def test_no_teacher_rollout_is_no_gradient(model: Any) -> None:
    assert imitation_gradient(model, [], 3, weight=1.0, token_budget=100, pad_id=PAD) == {}
    assert all(parameter.grad is None for parameter in model.parameters())
