"""The rollouts of one step as padded tensors, and their split into micro-batches without padding waste.

Shapes: B rollouts, T tokens of the longest response. Knows no model and no loss.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sgopd.engines.base import Rollout
from sgopd.prompts.render import Prompt
from sgopd.verifier import Verdict


@dataclass(frozen=True)
class Batch:
    """Rollouts, verdicts and log-probs of one step. Tensors are float32 unless said otherwise."""

    prompts: list[Prompt]  # B, a group's prompt repeated
    rollouts: list[Rollout]  # B
    verdicts: list[Verdict]  # B
    group_id: Tensor  # [B] int64
    mask: Tensor  # [B, T] bool, True on response tokens
    logp_s: Tensor  # [B, T] behaviour = student before the update
    logp_t: Tensor  # [B, T] teacher
    logp_ref: Tensor | None  # [B, T] reference policy, where the rule reads it

    @property
    def reward(self) -> Tensor:
        """[B] R in {0, 1}: 1 iff the verifier says correct."""
        return torch.tensor([float(verdict.verdict == "correct") for verdict in self.verdicts])

    @property
    def truncated(self) -> Tensor:
        """[B] bool: cut at the length limit."""
        return torch.tensor([rollout.finish_reason == "length" for rollout in self.rollouts])

    @property
    def responses(self) -> list[list[int]]:
        return [rollout.token_ids for rollout in self.rollouts]

    @property
    def tokens(self) -> int:
        """Student tokens of the batch."""
        return sum(len(rollout.token_ids) for rollout in self.rollouts)


def length_mask(rows: Sequence[Sequence[object]]) -> Tensor:
    """[B, T] bool: True on the first ``len(row)`` of T = longest row."""
    lengths = torch.tensor([len(row) for row in rows])
    return torch.arange(int(lengths.max())) < lengths[:, None]


def unflatten(flat: Tensor, mask: Tensor) -> Tensor:
    """[N] values of real tokens to [B, T], 0 elsewhere; differentiable."""
    return torch.zeros(mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(mask.to(flat.device), flat)


def pad(rows: Sequence[Sequence[float]]) -> Tensor:
    """Ragged rows to a float32 tensor [B, T], 0 on the padding."""
    return unflatten(torch.tensor([value for row in rows for value in row], dtype=torch.float32), length_mask(rows))


def micro_batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Indices of sequences, longest first, in groups whose padded size (count x longest) stays within the budget.

    A single sequence longer than the budget forms a group of its own.
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if group and (len(group) + 1) * lengths[group[0]] > token_budget:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
