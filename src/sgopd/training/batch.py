"""The rollouts of one step as padded tensors.

Shapes: B rollouts, T tokens of the longest response. Knows no model and no loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sgopd.engines.base import Rollout
from sgopd.prompts.render import Prompt
from sgopd.training.data import TeacherSample
from sgopd.verifier import Verdict

Rows = Sequence[Sequence[float]]


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
    logp_old: Tensor | None = None  # [B, T] the trainer's own before its first update, where another engine sampled

    @property
    def reward(self) -> Tensor:
        """[B] R in {0, 1}: 1 iff the verifier says correct."""
        return torch.tensor([float(verdict.verdict == "correct") for verdict in self.verdicts])

    @property
    def truncated(self) -> Tensor:
        """[B] bool: cut at the length limit."""
        return torch.tensor([rollout.finish_reason == "length" for rollout in self.rollouts])

    @cached_property
    def responses(self) -> list[list[int]]:
        return [rollout.token_ids for rollout in self.rollouts]

    @property
    def tokens(self) -> int:
        """Student tokens of the batch."""
        return sum(len(rollout.token_ids) for rollout in self.rollouts)

    def joined(self, members: Sequence[tuple[int, TeacherSample]], logp_s: Rows, logp_ref: Rows | None) -> "Batch":
        """This batch and then, in the groups named, the teacher's rollouts; their log-probs under student and reference."""
        groups, samples = zip(*members, strict=True)
        rollouts = [sample.rollout for sample in samples]
        return Batch(
            self.prompts + [sample.prompt for sample in samples],
            self.rollouts + rollouts,
            self.verdicts + [sample.verdict for sample in samples],
            group_id=torch.cat([self.group_id, torch.tensor(groups)]),
            mask=stacked(self.mask, length_mask(logp_s)),
            logp_s=stacked(self.logp_s, pad(logp_s)),
            logp_t=stacked(self.logp_t, pad([rollout.logprobs for rollout in rollouts])),
            logp_ref=None if self.logp_ref is None or logp_ref is None else stacked(self.logp_ref, pad(logp_ref)),
        )


def stacked(a: Tensor, b: Tensor) -> Tensor:
    """[B, T] and [B', T'] to [B + B', max(T, T')], zeros on the new padding."""
    width = max(a.shape[1], b.shape[1])
    return torch.cat([torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (a, b)])


def length_mask(rows: Sequence[Sequence[object]]) -> Tensor:
    """[B, T] bool: True on the first ``len(row)`` of T = longest row."""
    lengths = torch.tensor([len(row) for row in rows])
    return torch.arange(int(lengths.max())) < lengths[:, None]


def unflatten(flat: Tensor, mask: Tensor) -> Tensor:
    """[N] values of real tokens to [B, T], 0 elsewhere; differentiable."""
    return torch.zeros(mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(mask.to(flat.device), flat)


def pad(rows: Rows) -> Tensor:
    """Ragged rows to a float32 tensor [B, T], 0 on the padding."""
    return unflatten(torch.tensor([value for row in rows for value in row], dtype=torch.float32), length_mask(rows))
