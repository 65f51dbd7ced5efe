"""Statistics inside groups of rollouts of one prompt: per-rollout [B] in, per-rollout [B] out.

Every function broadcasts its group's number back to the rollouts, in any order of rollouts. The standard
deviation is the population's (divide by G, not G - 1). Knows nothing about tokens, teachers or rules.
"""

import torch
from torch import Tensor

EPSILON = 1e-6


def group_sum(x_B: Tensor, group_id_B: Tensor) -> Tensor:
    """Sum of ``x_B`` over each rollout's group, [B]."""
    ids, index_B = torch.unique(group_id_B, return_inverse=True)
    return x_B.new_zeros(ids.numel()).index_add_(0, index_B, x_B)[index_B]


def group_size(group_id_B: Tensor) -> Tensor:
    """G of each rollout's group, [B] int64."""
    return group_sum(torch.ones_like(group_id_B, dtype=torch.int64), group_id_B)


def group_mean(x_B: Tensor, group_id_B: Tensor) -> Tensor:
    return group_sum(x_B, group_id_B) / group_size(group_id_B)


def is_constant(x_B: Tensor, group_id_B: Tensor) -> Tensor:
    """True for rollouts of a group in which all ``x`` are equal (all right, all wrong, or a group of one), [B] bool."""
    ids, index_B = torch.unique(group_id_B, return_inverse=True)
    low = x_B.new_full((ids.numel(),), torch.inf).scatter_reduce(0, index_B, x_B, "amin")
    high = x_B.new_full((ids.numel(),), -torch.inf).scatter_reduce(0, index_B, x_B, "amax")
    return (low == high)[index_B]


def standardise(x_B: Tensor, group_id_B: Tensor) -> Tensor:
    """(x - mean_group x) / (std_group x + 1e-6), population std, exactly 0 where the group is constant, [B].

    The exact zero matters: rounding in the mean of a constant group would otherwise give its rollouts a sign.
    """
    centred = x_B - group_mean(x_B, group_id_B)
    std = group_mean(centred.square(), group_id_B).sqrt()
    return (centred / (std + EPSILON)).masked_fill(is_constant(x_B, group_id_B), 0.0)


def prompt_weight(reward_B: Tensor, group_id_B: Tensor) -> Tensor:
    """PACED prompt weight p (1 - p), p = share of right rollouts in the group, [B] in [0, 1/4].

    Multiply any rule's values with it: ``result.values * prompt_weight(reward, group_id)[:, None]``.
    Source: https://arxiv.org/abs/2603.11178. Rewards in {0, 1}.
    """
    p_B = group_mean(reward_B.to(torch.float32), group_id_B)
    return p_B * (1 - p_B)


def permutation_within_groups(group_id_B: Tensor, seed: int) -> Tensor:
    """Index [B] that shuffles rollouts inside their group; the same seed and groups give the same permutation."""
    _, index_B = torch.unique(group_id_B.cpu(), return_inverse=True)
    order = torch.randperm(index_B.numel(), generator=torch.Generator().manual_seed(seed))
    shuffled = order[torch.argsort(index_B[order], stable=True)]
    permutation = torch.empty_like(shuffled)
    permutation[torch.argsort(index_B, stable=True)] = shuffled
    return permutation.to(group_id_B.device)
