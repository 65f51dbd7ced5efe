"""Passes over sequences of similar length: the fewest padded tokens, and the same hidden states as one by one, also where a
prompt with several responses is read once."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sgopd.engines import forward
from sgopd.engines.forward import CALL_TOKENS, response_hidden, similar_lengths
from sgopd.models import load_model
from tests.engines.test_torch_engine import PAD, model  # noqa: F401  a fixture
from tests.families import tiny_model


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


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts, some of them the same, in any order, and a response to each; some are empty or one token long."""
    tokens = st.integers(3, 11)
    different = draw(st.lists(st.lists(tokens, min_size=1, max_size=9), min_size=1, max_size=3))
    prompts = draw(st.lists(st.sampled_from(different), min_size=1, max_size=7))
    return prompts, [draw(st.lists(tokens, max_size=6)) for _ in prompts]


@settings(deadline=None, max_examples=40)
@given(groups())
def test_a_prompt_read_once_gives_the_states_and_gradients_of_each_sequence_alone(
    model: Any,  # noqa: F811
    batch: tuple[list[list[int]], list[list[int]]],
) -> None:
    def once(shared: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forward, "_worth_sharing", lambda *_: shared)
            hidden, targets = response_hidden(model, *batch, PAD)
        model.zero_grad()
        (hidden * torch.arange(hidden.shape[1])).sum().backward()
        return hidden.detach(), targets, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    (hidden, targets, gradient), (hidden_1, targets_1, gradient_1) = once(shared=True), once(shared=False)
    assert targets.tolist() == targets_1.tolist()
    torch.testing.assert_close(hidden, hidden_1, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, gradient_1, rtol=1e-3, atol=1e-3)


def passes(model: Any, prompts: list[list[int]], responses: list[list[int]]) -> list[tuple[int, ...]]:  # noqa: F811
    """Shapes of the token ids of each forward pass."""
    seen: list[tuple[int, ...]] = []
    inner = model.base_model
    hook = inner.register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    response_hidden(model, prompts, responses, PAD)
    hook.remove()
    return seen


def test_a_prompt_is_read_once_where_that_saves_enough(model: Any) -> None:  # noqa: F811
    long, short = [3] * 100, [3] * 40
    assert passes(model, [long] * 8, [[4] * 10] * 8) == [(1, 100), (8, 9)]
    assert passes(model, [short] * 8, [[4] * 500] * 8) == [(8, 539)], "an eighth of the tokens is not saved"
    assert passes(model, [[5 + i % 4] * 100 for i in range(4)], [[4] * 10] * 4) == [(4, 109)], "all prompts differ"


def test_checkpointed_layers_and_bounded_caches_read_whole_sequences(model: Any, tmp_path: Path) -> None:  # noqa: F811
    prompts, responses = [[3] * 100] * 8, [[4] * 10] * 8
    sliding = load_model(tiny_model(tmp_path, "gemma3", 40, 0), dtype=torch.float32)
    assert passes(sliding, prompts, responses) == [(8, 109)]
    model.gradient_checkpointing_enable()
    try:
        assert passes(model.train(), prompts, responses) == [(8, 109)]
        assert passes(model.eval(), prompts, responses) == [(1, 100), (8, 9)]
    finally:
        model.gradient_checkpointing_disable()
