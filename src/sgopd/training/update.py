"""One optimiser update: forward, loss, backward in micro-batches, clipped step.

L_total = L_gate(student rollouts) + gamma * L_CE(teacher rollouts)  (METHOD sections 1 and 3). The gradient does not
depend on the micro-batch size. Knows no files, no schedule and no rule: advantages come in as numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sgopd.config import Training
from sgopd.engines.forward import response_logprobs
from sgopd.errors import NotFinite
from sgopd.objectives import policy_loss, teacher_loss
from sgopd.training.batch import Batch, length_mask, micro_batches, unflatten
from sgopd.training.data import TeacherSample
from sgopd.training.distributed import add_up, deal, whole


@dataclass
class Sums:
    """Metrics as weighted sums over micro-batches; those that end in ``/max`` as their maximum."""

    totals: dict[str, float] = field(default_factory=dict)

    def add(self, weight: float, **values: float) -> None:
        for name, value in values.items():
            before = self.totals.get(name, 0.0)
            self.totals[name] = max(before, value) if name.endswith("/max") else before + weight * value


def policy_gradient(
    model: Any, batch: Batch, rows: Sequence[int], advantage: Tensor, training: Training, pad_id: int
) -> dict[str, float]:
    """Add the gradient of L_gate over the rollouts ``rows`` of the batch to the model's. Advantage [B, T], ascent sign.

    With one update per batch the live student is the old policy: its log-probs come from the forward pass of the loss.
    """
    objective, reused = training.objective, training.updates_per_batch > 1
    n_tokens = sum(len(batch.responses[i]) for i in rows)
    total = len(rows) if objective.aggregate == "sequence_mean" else n_tokens
    sums = Sums()
    lengths = [len(batch.prompts[i].token_ids) + len(batch.responses[i]) for i in rows]
    for picked, counts in deal(micro_batches(lengths, training.micro_batch_tokens)):
        micro = [rows[i] for i in picked]
        prompts = [batch.prompts[i].token_ids for i in micro]
        responses = [batch.responses[i] for i in micro]
        flat, entropy = response_logprobs(model, prompts, responses, pad_id)
        mask = length_mask(responses)
        mask = mask.to(flat.device)
        behaviour = batch.logp_s[micro, : mask.shape[1]].to(flat.device)
        loss, diagnostics = policy_loss(
            unflatten(flat, mask), advantage[micro, : mask.shape[1]].to(flat.device), mask,
            logp_old=behaviour if reused else None, logp_behaviour=behaviour, clip_epsilon=objective.clip_epsilon,
            importance_cap=objective.importance_cap, agg=objective.aggregate, total=total,
        )  # fmt: skip
        (counts * loss).backward()  # type: ignore[no-untyped-call]
        sums.add(counts, **{"loss/policy": loss.item()})
        sums.add(counts * int(mask.sum()) / n_tokens, entropy=entropy.mean().item(), **diagnostics)
    return add_up(sums.totals)


def imitation_gradient(
    model: Any, samples: Sequence[TeacherSample], total: int, weight: float, token_budget: int, pad_id: int
) -> dict[str, float]:
    """Add the gradient of ``weight`` * L_CE, the sum over samples of the per-sequence mean NLL over ``total`` sequences."""
    sums = Sums()
    lengths = [len(sample.prompt.token_ids) + len(sample.response_ids) for sample in samples]
    for picked, counts in deal(micro_batches(lengths, token_budget)):
        prompts = [samples[i].prompt.token_ids for i in picked]
        responses = [samples[i].response_ids for i in picked]
        flat, _ = response_logprobs(model, prompts, responses, pad_id)
        mask = length_mask(responses).to(flat.device)
        loss = teacher_loss(unflatten(flat, mask), mask, total=total)
        (counts * weight * loss).backward()
        sums.add(counts, **{"loss/imitation": loss.item()})
    return add_up(sums.totals)


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
