"""Passes over sequences of similar length: the fewest padded tokens, and the same hidden states as one by one."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgopd.engines import forward
from sgopd.engines.forward import CALL_TOKENS, response_hidden, similar_lengths
from tests.engines.test_torch_engine import PAD, model  # noqa: F401  a fixture


def cost(groups: list[list[int]], lengths: list[int]) -> int:
    return sum(len(group) * max(lengths[i] for i in group) + CALL_TOKENS for group in groups)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=8))
def test_no_other_cut_of_the_sorted_sequences_costs_less(lengths: list[int]) -> None:
    groups = similar_lengths(lengths)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    order = [i for group in groups for i in group]
    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)
    for cuts in itertools.product([False, True], repeat=len(order) - 1):
        edges = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(order)]
        assert cost(groups, lengths) <= cost([order[a:b] for a, b in itertools.pairwise(edges)], lengths)


def test_short_sequences_share_a_pass_and_a_long_one_does_not_pad_them() -> None:
    assert len(similar_lengths([30, 20, 25])) == 1
    assert similar_lengths([20] * 50 + [500]) == [[50], list(range(50))]


def test_hidden_states_are_those_of_each_sequence_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    prompts = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3], [4, 4]]
    responses = [[5, 6], [3, 4, 5, 6, 7, 8, 9, 2], [2], [9, 9, 9]]
    alone = [response_hidden(model, [p], [r], PAD) for p, r in zip(prompts, responses, strict=True)]
    for call_tokens in (0, 256):  # every length for itself, all together
        monkeypatch.setattr(forward, "CALL_TOKENS", call_tokens)
        hidden, targets = response_hidden(model, prompts, responses, PAD)
        assert targets.tolist() == [token for response in responses for token in response]
        torch.testing.assert_close(hidden, torch.cat([part for part, _ in alone]), rtol=1e-4, atol=1e-5)
