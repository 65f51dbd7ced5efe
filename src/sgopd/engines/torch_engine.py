"""The transformers engine: batched sampling with a KV cache, and batched scoring.

Each sequence draws from a random stream of its own (one uniform number per token, inverse CDF), so that its tokens depend
neither on the batch nor on the order. Works with any causal LM; knows no tokenizer and no study.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgopd.engines.base import Finished, Rollout, Sampling
from sgopd.engines.forward import response_logprobs

SAMPLED_TOKENS = 2**18  # places in the KV cache of one batch: 30 GB at 1.7 billion parameters in bfloat16
SCORED_TOKENS = 2**16  # padded tokens of one forward pass


class TorchEngine:
    """Engine over a transformers causal LM; ``model`` may be trained between calls.

    vocabulary: number of real tokens; rows beyond it only pad the head. They stay in the softmax, as in every other engine, but
    are never sampled. None: every row is a token.
    """

    def __init__(
        self, model: Any, eos_id: int, pad_id: int, vocabulary: int | None = None, batch_size: int = 256
    ) -> None:
        self.model, self.eos_id, self.pad_id = model, eos_id, pad_id
        self.vocabulary, self.batch_size = vocabulary, batch_size

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Rollout]:
        """One rollout per (prompt, seed); batches hold prompts of similar length."""
        rollouts: list[Rollout | None] = [None] * len(prompts)
        training = self.model.training
        self.model.eval()  # in training mode with gradient checkpointing transformers drops the KV cache
        lengths = [len(prompt) + sampling.max_new_tokens for prompt in prompts]
        for rows in _batches(lengths, range(len(prompts)), self.batch_size, SAMPLED_TOKENS):
            batch = _Decoding(self, [prompts[i] for i in rows], sampling, [seeds[i] for i in rows])
            for i, rollout in batch.run():
                rollouts[rows[i]] = rollout
                if finished:
                    finished(rows[i], rollout)
        self.model.train(training)
        return [rollout for rollout in rollouts if rollout is not None]

    @torch.no_grad()
    def score(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[list[float]]:
        """Log-probs (nats, temperature 1) of the response tokens; batches hold sequences of similar length."""
        scores: list[list[float]] = [[] for _ in prompts]
        lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
        wanted = [i for i in range(len(prompts)) if responses[i]]
        for rows in _batches(lengths, wanted, self.batch_size, SCORED_TOKENS):
            picked = [responses[i] for i in rows]
            flat, _ = response_logprobs(self.model, [prompts[i] for i in rows], picked, self.pad_id)
            for row, part in zip(rows, flat.cpu().split([len(response) for response in picked]), strict=True):
                scores[row] = part.tolist()
        return scores

    def begin(self, prompt: list[int], response: list[int]) -> None:
        """Nothing: it would compete with the sampling for this device."""

    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take over new weights by name, as ``transformers`` names them; for a model that is not trained in place."""
        own = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in weights:
                own[name].copy_(tensor)

    def sleep(self) -> None:
        """Nothing to give back: the KV cache lives only while it samples."""


def _batches(lengths: Sequence[int], wanted: Iterable[int], count: int, tokens: int) -> Iterator[list[int]]:
    """Indices in groups of similar length, shortest first: at most ``count`` of them and ``tokens`` padded tokens."""
    group: list[int] = []
    for i in sorted(wanted, key=lambda i: lengths[i]):
        if group and (len(group) == count or (len(group) + 1) * lengths[i] > tokens):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


class _Decoding:
    """One batch being decoded. Rows that have ended leave the batch once they are the majority."""

    def __init__(self, engine: TorchEngine, prompts: list[list[int]], sampling: Sampling, seeds: list[int]) -> None:
        self.engine, self.sampling, self.prompts = engine, sampling, prompts
        draws = [np.random.Generator(np.random.Philox(seed)).random(sampling.max_new_tokens) for seed in seeds]
        self.uniforms = torch.from_numpy(np.stack(draws)).to(engine.model.device)  # [B, max_new_tokens] float64
        self.tokens: list[list[int]] = [[] for _ in prompts]
        self.logprobs: list[list[float]] = [[] for _ in prompts]

    def run(self) -> Iterator[tuple[int, Rollout]]:
        """Place and rollout of each, as they end."""
        from transformers import DynamicCache

        model, cache = self.engine.model, DynamicCache(config=self.engine.model.config)
        ids, mask = self._left_padded()
        position = mask.long().cumsum(1).sub(1).clamp_min(0)
        rows = torch.arange(len(self.prompts))  # which rollout each row of the batch is
        ended = torch.zeros(len(rows), dtype=torch.bool)
        for t in range(self.sampling.max_new_tokens):
            logits = model(
                input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True, logits_to_keep=1
            ).logits[:, -1].float()  # fmt: skip
            token, logp = self._draw(logits, self.uniforms[rows, t])
            self._append(rows, ended, token, logp)
            ends = (token.cpu() == self.engine.eos_id) | (t == self.sampling.max_new_tokens - 1)
            yield from ((i, self._rollout(i)) for i in rows[ends & ~ended].tolist())
            ended |= ends
            if bool(ended.all()):
                break
            ids, position = token[:, None], position[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            if ended.sum() * 2 > len(rows):
                alive = (~ended).nonzero()[:, 0]
                cache.batch_select_indices(alive.to(ids.device))
                ids, position, mask, rows, ended = ids[alive], position[alive], mask[alive], rows[alive], ended[alive]

    def _left_padded(self) -> tuple[Tensor, Tensor]:
        width = max(map(len, self.prompts))
        ids = torch.full((len(self.prompts), width), self.engine.pad_id)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        for i, prompt in enumerate(self.prompts):
            ids[i, width - len(prompt) :] = torch.tensor(prompt)
            mask[i, width - len(prompt) :] = 1
        device = self.engine.model.device
        return ids.to(device), mask.to(device)

    def _draw(self, logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Token [B] by inverse CDF at ``uniform`` [B], and its log-prob at temperature 1 [B]; logits [B, V] float32."""
        logp = logits.log_softmax(-1)
        tempered = logp if self.sampling.temperature == 1 else (logits / self.sampling.temperature).log_softmax(-1)
        weights = tempered.double().exp()
        if self.sampling.top_p < 1:
            weights = _nucleus(weights, self.sampling.top_p)
        cumulative = weights.cumsum(-1)
        drawn = uniform * cumulative[:, -1]
        token = torch.searchsorted(cumulative, drawn[:, None], right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
        real = self.engine.vocabulary or logits.shape[-1]
        if bool((token >= real).any()):
            token = torch.where(token < real, token, _drawn_again(cumulative, drawn, real))
        return token, logp.gather(1, token[:, None])[:, 0]

    def _append(self, rows: Tensor, ended: Tensor, token: Tensor, logp: Tensor) -> None:
        for row, done, t, lp in zip(rows.tolist(), ended.tolist(), token.tolist(), logp.tolist(), strict=True):
            if not done:
                self.tokens[row].append(t)
                self.logprobs[row].append(min(lp, 0.0))

    def _rollout(self, i: int) -> Rollout:
        stopped = self.tokens[i][-1] == self.engine.eos_id
        return Rollout(self.tokens[i], self.logprobs[i], "stop" if stopped else "length")


def _drawn_again(cumulative: Tensor, drawn: Tensor, real: int) -> Tensor:
    """Tokens [B] among the first ``real`` rows for draws that fell on padding: given that, their place in the padding's mass is
    uniform, and is used as the next draw. So real tokens keep their proportions, and no other draw changes."""
    below = cumulative[:, real - 1]
    place = (drawn - below) / (cumulative[:, -1] - below).clamp_min(1e-300)
    token = torch.searchsorted(cumulative[:, :real].contiguous(), (place * below)[:, None], right=True)[:, 0]
    return token.clamp_max(real - 1)


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of most likely tokens with mass >= top_p; weights [B, V]."""
    ordered, index = weights.sort(-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return weights.scatter(-1, index, ordered.masked_fill(outside, 0))
