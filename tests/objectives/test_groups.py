"""Group statistics in any order of rollouts, PACED weights, and shuffling inside groups."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sgopd.objectives import prompt_weight
from sgopd.objectives.groups import (
    group_mean,
    group_size,
    is_constant,
    permutation_within_groups,
    standardise,
)

ids = st.lists(st.integers(-3, 3), min_size=1, max_size=20)


def test_standardise_uses_the_population_deviation_of_the_group() -> None:
    x = torch.tensor([1.0, 5.0, 0.0, 5.0], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.0, -1.0, 0.0], dtype=torch.float64) * 0.5 / (0.5 + 1e-6)
    torch.testing.assert_close(standardise(x, torch.tensor([7, 2, 7, 2])), expected)


@given(ids)
def test_group_numbers_do_not_need_sorted_or_dense_ids(group: list[int]) -> None:
    x = torch.arange(len(group), dtype=torch.float64)
    expected = [[v for v, g in zip(x.tolist(), group, strict=True) if g == own] for own in group]
    assert group_size(torch.tensor(group)).tolist() == [len(e) for e in expected]
    torch.testing.assert_close(
        group_mean(x, torch.tensor(group)), torch.tensor([sum(e) / len(e) for e in expected]).double()
    )
    assert is_constant(x, torch.tensor(group)).tolist() == [len(e) == 1 for e in expected]


@given(ids, st.integers(0, 1000))
def test_shuffling_stays_inside_the_group_and_loses_nobody(group: list[int], seed: int) -> None:
    group_id = torch.tensor(group)
    permutation = permutation_within_groups(group_id, seed)
    assert sorted(permutation.tolist()) == list(range(len(group)))
    assert torch.equal(group_id[permutation], group_id)


def test_prompt_weight_is_p_times_one_minus_p_and_zero_for_degenerate_groups() -> None:
    reward = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    weight = prompt_weight(reward, torch.tensor([0, 0, 0, 0, 1, 1]))
    torch.testing.assert_close(weight, torch.tensor([0.1875] * 4 + [0.0] * 2))
