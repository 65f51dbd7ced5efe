"""One forward pass over prompt + response, log-probs at the response tokens only; with or without gradient.

In: a transformers causal LM and ragged token ids. Out: flat [N] log-probs and entropies, N response tokens in order.
Used by scoring and by training, so that both compute the same thing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
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

    Sequences of similar length share a pass, and a prompt with several responses is read once where that saves enough. Padding
    is on the right: under causal attention no real token sees it. The head is left to the caller, for the N positions only.
    """
    passes = _after_their_prompts if _worth_sharing(model, prompts, responses) else _whole_sequences
    states, places = passes(model, prompts, responses, pad_id)
    where = torch.from_numpy(np.concatenate(places)).to(model.device)
    targets = torch.tensor([token for response in responses for token in response], device=model.device)
    return torch.cat(states)[where], targets


# Hidden states of all passes [*, H], and for each sequence the places in them that predict its response tokens
Passes = tuple[list[Tensor], list[NDArray[np.int64]]]


def _whole_sequences(model: Any, prompts: Sequence[list[int]], responses: Sequence[list[int]], pad_id: int) -> Passes:
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    states: list[Tensor] = []
    places, offset = [np.empty(0, np.int64)] * len(prompts), 0
    # processes that share a model must make as many passes
    for rows in [by_falling_length(lengths)] if is_sharded(model) else similar_lengths(lengths):
        ids = _right_padded([(prompts[i] + responses[i])[:-1] for i in rows], pad_id)
        states.append(model.base_model(input_ids=ids.to(model.device), use_cache=False).last_hidden_state.flatten(0, 1))
        for i, row in enumerate(rows):
            start = offset + i * ids.shape[1] + len(prompts[row]) - 1  # the last prompt token predicts the first one
            places[row] = np.arange(start, start + len(responses[row]))
        offset += ids.numel()
    return states, places


def _after_their_prompts(
    model: Any, prompts: Sequence[list[int]], responses: Sequence[list[int]], pad_id: int
) -> Passes:
    """Each different prompt once; then the responses, which attend to their prompt's keys and values."""
    from transformers import DynamicCache

    different, of = different_prompts(prompts)
    ids, cache = _right_padded(different, pad_id), DynamicCache(config=model.config)
    lengths = torch.tensor([len(prompt) for prompt in different])
    real = torch.arange(ids.shape[1]) < lengths[:, None]
    states = [_continue(model, cache, ids, real.long(), torch.arange(ids.shape[1]).expand(ids.shape))]
    ends = of * ids.shape[1] + lengths.numpy()[of] - 1  # the last prompt token predicts the first one of the response
    places, offset = [ends[i : i + min(len(response), 1)] for i, response in enumerate(responses)], ids.numel()
    longer = [row for row, response in enumerate(responses) if len(response) > 1]
    for group in similar_lengths([len(responses[row]) - 1 for row in longer]):
        rows = [longer[i] for i in group]
        ids, prompt = _right_padded([responses[row][:-1] for row in rows], pad_id), torch.from_numpy(of[rows])
        mask = torch.cat([real[prompt].long(), torch.ones_like(ids)], 1)
        position = lengths[prompt][:, None] + torch.arange(ids.shape[1])
        states.append(_continue(model, _picked(cache, prompt.to(model.device), model.config), ids, mask, position))
        for i, row in enumerate(rows):
            start = offset + i * ids.shape[1]
            places[row] = np.append(places[row], np.arange(start, start + len(responses[row]) - 1))
        offset += ids.numel()
    return states, places


def different_prompts(prompts: Sequence[list[int]]) -> tuple[list[list[int]], NDArray[np.int64]]:
    """Each prompt that occurs, once, in the order of their first places; and for each place [B] which of them is there."""
    number = {prompt: u for u, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    return [list(prompt) for prompt in number], np.array([number[tuple(prompt)] for prompt in prompts], dtype=np.int64)


def _continue(model: Any, cache: Any, ids: Tensor, mask: Tensor, position: Tensor) -> Tensor:
    """Hidden states [rows * width, H] of ``ids`` [rows, width] after what the cache holds."""
    ids, mask, position = (x.to(model.device) for x in (ids, mask, position))
    out = model.base_model(
        input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
    )
    states: Tensor = out.last_hidden_state
    return states.flatten(0, 1)


def _picked(cache: Any, rows: Tensor, config: Any) -> Any:
    """A cache of these rows of the other one, through which gradients reach it."""
    from transformers import DynamicCache

    picked = DynamicCache(config=config)
    for number, layer in enumerate(cache.layers):
        picked.update(layer.keys[rows], layer.values[rows], number)
    return picked


def _worth_sharing(model: Any, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> bool:
    """Whether reading each different prompt once saves an eighth of the tokens (attention after a cache needs a mask, and is
    slower and larger for it), and the model can go on from its cache: it keeps all keys, and checkpointing, which runs layers
    twice, is off."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    different, tokens = different_prompts(prompts)[0], sum(map(len, prompts))
    saved = tokens - len(different) * max(map(len, different), default=0)
    if saved * 8 <= tokens + sum(map(len, responses)):
        return False
    checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    if is_sharded(model) or (model.training and checkpointed):
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def _right_padded(sequences: Sequence[list[int]], pad_id: int) -> Tensor:
    """[sequences, the longest's length or 1] int64."""
    ids = np.full((len(sequences), max(1, *map(len, sequences))), pad_id)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(ids)


def by_falling_length(lengths: Sequence[int]) -> list[int]:
    """Indices, the longest first."""
    return sorted(range(len(lengths)), key=lambda i: -lengths[i])


def micro_batches(lengths: Sequence[int], token_budget: int, most: int | None = None) -> Iterator[list[int]]:
    """Indices of sequences, longest first, in groups whose padded size (count x longest) stays within the budget, and of ``most``
    sequences at most.

    A single sequence longer than the budget forms a group of its own.
    """
    group: list[int] = []
    for index in by_falling_length(lengths):
        if group and (len(group) == most or (len(group) + 1) * lengths[group[0]] > token_budget):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


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
