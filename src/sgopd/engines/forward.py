"""One forward pass over prompt + response, log-probs at the response tokens only; with or without gradient.

In: a transformers causal LM and ragged token ids. Out: flat [N] log-probs and entropies, N response tokens in order.
Used by scoring and by training, so that both compute the same thing.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sgopd.objectives import fused_logprob

Result = TypeVar("Result")

CALL_TOKENS = 256  # a further forward pass costs about as much as so many tokens of a small model


def response_logprobs(
    model: Any, prompts: Sequence[list[int]], responses: Sequence[list[int]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies (nats, float32, temperature 1) of every response token, flat [N], sequence after sequence."""

    def forward() -> tuple[Tensor, Tensor]:
        hidden, targets = response_hidden(model, prompts, responses, pad_id)
        result = fused_logprob(hidden, model.get_output_embeddings().weight, targets)
        return result.logprob, result.entropy

    return with_weights(model, forward)


def with_weights(model: Any, forward: Callable[[], Result]) -> Result:
    """``forward()``; for a model whose weights several processes share, with these put together around it."""
    outcome: Result = model.run(forward) if is_sharded(model) else forward()
    return outcome


def is_sharded(model: Any) -> bool:
    """Whether several processes share the model's weights (``training.distributed.shard`` gives it ``run``)."""
    return hasattr(model, "run")


def response_hidden(
    model: Any, prompts: Sequence[list[int]], responses: Sequence[list[int]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Hidden states [N, H] from which the head predicts the response tokens, and those tokens [N], sequence after sequence.

    Sequences of similar length share a pass and are padded on the right: under causal attention no real token sees the
    padding, so no mask is needed. The head is left to the caller, for the N response positions only.
    """
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    first = np.cumsum([0] + [len(response) for response in responses])  # of each sequence in the flat order
    hidden, places = [], []
    # processes that share a model must make as many passes
    for rows in [by_falling_length(lengths)] if is_sharded(model) else similar_lengths(lengths):
        width = max(lengths[rows[0]] - 1, 1)
        input_ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
        positions = []
        for i, row in enumerate(rows):
            input_ids[i, : lengths[row] - 1] = torch.tensor((prompts[row] + responses[row])[:-1], dtype=torch.long)
            start = i * width + len(prompts[row]) - 1  # the last prompt token predicts the first response token
            positions.append(torch.arange(start, start + len(responses[row])))
            places.append(torch.arange(first[row], first[row + 1]))
        states = model.base_model(input_ids=input_ids.to(model.device), use_cache=False).last_hidden_state
        hidden.append(states.flatten(0, 1)[torch.cat(positions).to(model.device)])
    order = torch.cat(places).argsort().to(model.device)
    targets = torch.tensor([token for response in responses for token in response], device=model.device)
    return torch.cat(hidden)[order], targets


def by_falling_length(lengths: Sequence[int]) -> list[int]:
    """Indices, the longest first."""
    return sorted(range(len(lengths)), key=lambda i: -lengths[i])


def similar_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Indices by falling length, in groups such that padded tokens + CALL_TOKENS per group are fewest (exact)."""
    order = by_falling_length(lengths)
    longest = np.array([lengths[i] for i in order], dtype=np.float64)
    count = np.arange(len(order) + 1)
    cost, start = np.zeros(len(order) + 1), np.zeros(len(order) + 1, dtype=int)
    for end in count[1:]:  # the last group of the first ``end`` sequences begins at start[end]
        candidates = cost[:end] + (end - count[:end]) * longest[:end]
        start[end] = candidates.argmin()
        cost[end] = candidates[start[end]] + CALL_TOKENS
    groups, end = [], len(order)
    while end:
        groups.append(order[start[end] : end])
        end = int(start[end])
    return groups[::-1]
