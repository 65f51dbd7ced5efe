"""One optimiser update: forward, loss, backward in micro-batches, clipped step.

L_total = L_gate(student rollouts) + gamma * L_CE(teacher rollouts)  (METHOD sections 1 and 3). The gradient does not
depend on the micro-batch size. Knows no files, no schedule and no rule: advantages come in as numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sgopd.config import Objective, Training
from sgopd.engines.forward import micro_batches, response_hidden, response_logprobs, with_weights
from sgopd.errors import NotFinite
from sgopd.objectives import (
    TokenLogprob,
    aggregation_weight,
    forward_kl,
    fused_divergence,
    fused_logprob,
    fused_policy_gradient,
    fused_reverse_kl,
    generalised_jsd,
    policy_gradient_weight,
    policy_loss,
    reverse_kl,
    top_k_with_tail,
)
from sgopd.training.batch import Batch, length_mask, unflatten
from sgopd.training.data import TeacherSample
from sgopd.training.distributed import add_up, deal, summed, whole


@dataclass
class Sums:
    """Metrics as weighted sums over micro-batches; those that end in ``/max`` as their maximum."""

    totals: dict[str, float] = field(default_factory=dict)

    def add(self, weight: float, **values: float) -> None:
        for name, value in values.items():
            before = self.totals.get(name, 0.0)
            self.totals[name] = max(before, value) if name.endswith("/max") else before + weight * value


def policy_gradient(
    model: Any,
    batch: Batch,
    rows: Sequence[int],
    advantage: Tensor,
    training: Training,
    pad_id: int,
) -> dict[str, float]:
    """Add the gradient of L_gate over the rollouts ``rows`` of the batch to the model's. Advantage [B, T], ascent sign.

    With one update per batch the live student is the old policy: its log-probs come from the forward pass of the loss.
    """
    sums, n_tokens, total = Sums(), *_totals(batch, rows, training.objective)
    for micro, counts in _dealt(batch, rows, training.micro_batch_tokens):
        loss, means = _sampled_gradient(model, batch, micro, advantage, training, total, pad_id, counts)
        sums.add(counts, **{"loss/policy": loss})
        sums.add(counts * sum(len(batch.responses[i]) for i in micro) / n_tokens, **means)
    return add_up(sums.totals)


def divergence_gradient(
    model: Any,
    teacher: Any,
    batch: Batch,
    rows: Sequence[int],
    training: Training,
    pad_id: int,
) -> tuple[dict[str, float], Tensor]:
    """As ``policy_gradient`` for a base loss over the vocabulary; ``teacher`` is the teacher's model.

    Also the teacher's log-probs [B, T] of the sampled tokens, 0 outside ``rows``: its one forward pass gives both.
    """
    sums, (_, total) = Sums(), _totals(batch, rows, training.objective)
    logp_t = torch.zeros(batch.mask.shape)
    for micro, counts in _dealt(batch, rows, training.micro_batch_tokens):
        loss, flat = _divergence_gradient(model, teacher, batch, micro, training.objective, total, pad_id, counts)
        mask = length_mask([batch.responses[i] for i in micro])
        logp_t[micro, : mask.shape[1]] += counts * unflatten(flat.cpu(), mask)
        sums.add(counts, **{"loss/policy": loss})
    return add_up(sums.totals), summed(logp_t)


def _totals(batch: Batch, rows: Sequence[int], objective: Objective) -> tuple[int, int]:
    """Response tokens of these rollouts, and what their loss is divided by."""
    n_tokens = sum(len(batch.responses[i]) for i in rows)
    return n_tokens, len(rows) if objective.aggregate == "sequence_mean" else n_tokens


def _dealt(batch: Batch, rows: Sequence[int], token_budget: int) -> Iterator[tuple[list[int], float]]:
    """This process's micro-batches of these rollouts, as ``distributed.deal`` deals them."""
    lengths = [len(batch.prompts[i].token_ids) + len(batch.responses[i]) for i in rows]
    for picked, counts in deal(micro_batches(lengths, token_budget)):
        yield [rows[i] for i in picked], counts


def _sampled_gradient(
    model: Any,
    batch: Batch,
    micro: list[int],
    advantage: Tensor,
    training: Training,
    total: int,
    pad_id: int,
    counts: float,
) -> tuple[float, dict[str, float]]:
    """The policy gradient of one micro-batch times ``counts``, in one pass over the head; its loss, and means over its tokens."""
    objective, responses = training.objective, [batch.responses[i] for i in micro]
    mask = length_mask(responses)
    A, behaviour = (x[micro, : mask.shape[1]] for x in (advantage, batch.logp_s))
    before = batch.logp_s if batch.logp_old is None else batch.logp_old
    old = before[micro, : mask.shape[1]] if training.updates_per_batch > 1 else None
    clamps: dict[str, Any] = {"clip_epsilon": objective.clip_epsilon, "importance_cap": objective.importance_cap}
    share = aggregation_weight(mask, objective.aggregate, total)
    flat_A, flat_behaviour, flat_share = (x[mask].to(model.device) for x in (A, behaviour, share))
    flat_old = None if old is None else old[mask].to(model.device)

    def token_weight(logp: Tensor, rows: slice) -> Tensor:
        live_old = None if flat_old is None else flat_old[rows]
        return flat_share[rows] * policy_gradient_weight(
            logp, flat_A[rows], logp_old=live_old, logp_behaviour=flat_behaviour[rows], **clamps
        )

    def forward() -> tuple[Tensor, TokenLogprob]:
        hidden, targets = response_hidden(model, [batch.prompts[i].token_ids for i in micro], responses, pad_id)
        return fused_policy_gradient(hidden, model.get_output_embeddings().weight, targets, token_weight)

    value, token = with_weights(model, forward)
    (-counts * value).backward()  # type: ignore[no-untyped-call]
    loss, diagnostics = policy_loss(
        unflatten(token.logprob.cpu(), mask), A, mask, logp_old=old, logp_behaviour=behaviour,
        agg=objective.aggregate, total=total, **clamps,
    )  # fmt: skip
    return loss.item(), diagnostics | {"entropy": token.entropy.mean().item()}


@torch.no_grad()
def own_logprobs(model: Any, batch: Batch, token_budget: int, pad_id: int) -> Tensor:
    """Log-probs [B, T] of the batch's tokens under the model as it is now, worked out by all processes."""
    found = torch.zeros(batch.mask.shape)
    for micro, counts in _dealt(batch, range(len(batch.prompts)), token_budget):
        responses = [batch.responses[i] for i in micro]
        flat, _ = response_logprobs(model, [batch.prompts[i].token_ids for i in micro], responses, pad_id)
        mask = length_mask(responses)
        found[micro, : mask.shape[1]] += counts * unflatten(flat.cpu(), mask)
    return summed(found)


def _divergence_gradient(
    model: Any,
    teacher: Any,
    batch: Batch,
    micro: list[int],
    objective: Objective,
    total: int,
    pad_id: int,
    counts: float,
) -> tuple[float, Tensor]:
    """The gradient of the mean divergence from the teacher over the vocabulary, for one micro-batch, times ``counts``; its loss,
    and the teacher's log-probs of the sampled tokens, flat."""
    responses = [batch.responses[i] for i in micro]
    mask = length_mask(responses)
    share = aggregation_weight(mask, objective.aggregate, total)[mask].to(model.device)
    with torch.no_grad():
        hidden_t, targets = response_hidden(teacher, [batch.prompts[i].teacher_ids for i in micro], responses, pad_id)
        logp_t = fused_logprob(hidden_t, teacher.get_output_embeddings().weight, targets).logprob

    def forward() -> Tensor:
        hidden, _ = response_hidden(model, [batch.prompts[i].token_ids for i in micro], responses, pad_id)
        head, head_t = model.get_output_embeddings().weight, teacher.get_output_embeddings().weight
        V = min(len(head), len(head_t))  # further rows pad a vocabulary
        if objective.base == "reverse_kl" and objective.top_k is None:
            return fused_reverse_kl(hidden, head[:V], hidden_t, head_t[:V], token_weight=share)[0]
        divergence = partial(_divergence, objective)
        return fused_divergence(hidden, head[:V], hidden_t, head_t[:V], divergence, token_weight=share)[0]

    value = with_weights(model, forward)
    (counts * value).backward()  # type: ignore[no-untyped-call]
    return value.item(), logp_t


def _divergence(objective: Objective, logp_s: Tensor, logp_t: Tensor) -> Tensor:
    if objective.top_k is not None:
        logp_s, logp_t = top_k_with_tail(logp_s, logp_t, objective.top_k)
    if objective.base == "jsd":
        return generalised_jsd(logp_s, logp_t, objective.jsd_beta)
    return (reverse_kl if objective.base == "reverse_kl" else forward_kl)(logp_s, logp_t)


def imitation_gradient(
    model: Any, samples: Sequence[TeacherSample], total: int, weight: float, token_budget: int, pad_id: int
) -> dict[str, float]:
    """Add the gradient of ``weight`` * L_CE, the sum over samples of the per-sequence mean NLL over ``total`` sequences."""
    sums = Sums()
    lengths = [len(sample.prompt.token_ids) + len(sample.response_ids) for sample in samples]
    for picked, counts in deal(micro_batches(lengths, token_budget)):
        value = _imitation_value(model, [samples[i] for i in picked], total, pad_id)
        (-counts * weight * value).backward()  # type: ignore[no-untyped-call]
        sums.add(counts, **{"loss/imitation": -value.item()})
    return add_up(sums.totals)


def _imitation_value(model: Any, samples: Sequence[TeacherSample], total: int, pad_id: int) -> Tensor:
    """Sum over samples of their mean log-prob, over ``total``; with gradient."""
    responses = [sample.response_ids for sample in samples]
    mask = length_mask(responses)
    share = aggregation_weight(mask, "sequence_mean", total)[mask].to(model.device)

    def forward() -> Tensor:
        hidden, targets = response_hidden(model, [sample.prompt.token_ids for sample in samples], responses, pad_id)
        return fused_policy_gradient(hidden, model.get_output_embeddings().weight, targets, share)[0]

    return with_weights(model, forward)


def clipped_step(model: Any, optimiser: torch.optim.Optimizer, lr: float, max_grad_norm: float) -> float:
    """Clip the gradient, update the weights, clear the gradient; returns the norm before clipping."""
    norm = whole(torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm))
    if not torch.isfinite(norm):
        raise NotFinite(
            f"the gradient norm is {norm.item()}: training stopped before the weights were touched. "
            "Lower training.optimiser.lr, or bound the log-ratios with the rule's option guard: clip."
        )
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(norm)
