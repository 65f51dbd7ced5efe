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
from sgopd.engines.forward import different_prompts, micro_batches, response_logprobs

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

    @torch.inference_mode()
    def sample(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Rollout]:
        """One rollout per (prompt, seed); batches hold prompts of similar length."""
        rollouts: list[Rollout | None] = [None] * len(prompts)
        training = self.model.training
        self.model.eval()  # in training mode with gradient checkpointing transformers drops the KV cache
        lengths = [len(prompt) + sampling.max_new_tokens for prompt in prompts]
        for rows in micro_batches(lengths, SAMPLED_TOKENS, self.batch_size):
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
        wanted = [i for i in range(len(prompts)) if responses[i]]
        lengths = [len(prompts[i]) + len(responses[i]) for i in wanted]
        for group in micro_batches(lengths, SCORED_TOKENS, self.batch_size):
            rows = [wanted[i] for i in group]
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


class _Decoding:
    """One batch being decoded. Rows that have ended leave the batch once they are more than a quarter of it."""

    def __init__(self, engine: TorchEngine, prompts: list[list[int]], sampling: Sampling, seeds: list[int]) -> None:
        self.engine, self.sampling, self.prompts = engine, sampling, prompts
        draws = [np.random.Generator(np.random.Philox(seed)).random(sampling.max_new_tokens) for seed in seeds]
        self.uniforms = torch.from_numpy(np.stack(draws)).to(engine.model.device)  # [B, max_new_tokens] float64
        self.tokens = torch.zeros(self.uniforms.shape, dtype=torch.long, device=engine.model.device)
        self.logprobs = torch.zeros(self.uniforms.shape, device=engine.model.device)

    def run(self) -> Iterator[tuple[int, Rollout]]:
        """Place and rollout of each, as they end."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.engine.model.config)
        logits, mask, position = self._read_prompts(cache)
        rows = torch.arange(len(self.prompts))  # which rollout each row of the batch is
        ended = torch.zeros(len(rows), dtype=torch.bool)
        for t in range(self.sampling.max_new_tokens):
            token, logp = self._draw(logits, self.uniforms[rows, t])
            self.tokens[rows, t], self.logprobs[rows, t] = token, logp.clamp_max(0)
            ends = (token.cpu() == self.engine.eos_id) | (t == self.sampling.max_new_tokens - 1)
            yield from ((i, self._rollout(i, t + 1)) for i in rows[ends & ~ended].tolist())
            ended |= ends
            if bool(ended.all()):
                break
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            if ended.sum() * 4 > len(rows):
                alive = (~ended).nonzero()[:, 0]
                cache.batch_select_indices(alive.to(mask.device))
                token, position, mask, rows, ended = (x[alive] for x in (token, position, mask, rows, ended))
            position = position + 1
            logits = self._next_logits(token[:, None], mask, position, cache)

    def _read_prompts(self, cache: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, V] after the prompts, mask [B, P] and last position [B, 1]; prompts are left-padded, each read only once."""
        different, of = different_prompts(self.prompts)
        width = max(map(len, different))
        ids = torch.full((len(different), width), self.engine.pad_id)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        for u, prompt in enumerate(different):
            ids[u, width - len(prompt) :] = torch.tensor(prompt)
            mask[u, width - len(prompt) :] = 1
        device = self.engine.model.device
        ids, mask = ids.to(device), mask.to(device)
        position = mask.cumsum(1).sub(1).clamp_min(0)
        logits = self._next_logits(ids, mask, position, cache)
        rows = torch.from_numpy(of).to(device)
        cache.batch_select_indices(rows)
        return logits[rows], mask[rows], position[rows, -1:]

    def _next_logits(self, ids: Tensor, mask: Tensor, position: Tensor, cache: Any) -> Tensor:
        """[rows, V] float32."""
        logits: Tensor = self.engine.model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits[:, -1].float()  # fmt: skip
        return logits

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

    def _rollout(self, i: int, length: int) -> Rollout:
        tokens = self.tokens[i, :length].tolist()
        stopped = tokens[-1] == self.engine.eos_id
        return Rollout(tokens, self.logprobs[i, :length].tolist(), "stop" if stopped else "length")


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
