"""One forward pass over prompt + response, log-probs at the response tokens only; with or without gradient.

In: a transformers causal LM and ragged token ids. Out: flat [N] log-probs and entropies, N response tokens in order.
Used by scoring and by training, so that both compute the same thing.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sgopd.objectives import fused_logprob


def response_logprobs(
    model: Any, prompts: Sequence[list[int]], responses: Sequence[list[int]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies (nats, float32, temperature 1) of every response token, flat [N], sequence after sequence.

    On a model that several processes share, this is one call of its ``run``, which gathers the weights.
    """
    arguments = (prompts, responses, pad_id)
    run: Any = getattr(model, "run", None)
    outcome: tuple[Tensor, Tensor] = run(_logprobs, *arguments) if run else _logprobs(model, *arguments)
    return outcome


def _logprobs(
    model: Any, prompts: Sequence[list[int]], responses: Sequence[list[int]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """As ``response_logprobs``.

    Sequences are padded on the right: under causal attention no real token sees the padding, so no mask is needed, and
    the head is applied to the N response positions only.
    """
    device = model.device
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True)) - 1
    input_ids = torch.full((len(prompts), max(width, 1)), pad_id, dtype=torch.long)
    flat_positions, targets = [], []
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        tokens = prompt + response
        input_ids[i, : len(tokens) - 1] = torch.tensor(tokens[:-1], dtype=torch.long)
        first = i * input_ids.shape[1] + len(prompt) - 1  # the last prompt token predicts the first response token
        flat_positions.append(torch.arange(first, first + len(response)))
        targets += response
    hidden = model.base_model(input_ids=input_ids.to(device), use_cache=False).last_hidden_state
    hidden = hidden.flatten(0, 1)[torch.cat(flat_positions).to(device)]
    result = fused_logprob(hidden, model.get_output_embeddings().weight, torch.tensor(targets, device=device))
    return result.logprob, result.entropy
