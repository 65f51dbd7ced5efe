"""The vLLM engine inside this process: continuous batching and prefix caching for rollouts, prompt log-probs for scoring.

Its weights can be replaced in place between calls, and it can sleep (free its GPU memory) while the trainer works. Under
torchrun each group of ``tensor_parallel`` processes forms one engine, and the groups are data parallel. Knows no study.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sgopd.engines.base import Finished, Rollout, Sampling
from sgopd.errors import UserError

logger = logging.getLogger(__name__)

SEQUENCES_AT_ONCE = 1024  # scored per call; bounds the host memory of their log-prob objects
NEVER = -100.0  # logit bias of padding rows


@dataclass(frozen=True)
class VllmOptions:
    """How the engine is laid out. score_tokens: tokens per forward pass while scoring, whose logits exist at once."""

    max_length: int
    dtype: str = "bfloat16"
    tensor_parallel: int = 1
    memory_share: float = 0.4
    score_tokens: int = 4096
    revision: str | None = None


class VllmEngine:
    """Engine over vLLM's offline ``LLM``. Log-probs are those of temperature 1, before top-p (vLLM's raw log-probs).

    vocabulary: number of real tokens; rows beyond it are never sampled, as in the torch engine.
    """

    def __init__(self, path: Path | str, eos_id: int, vocabulary: int, options: VllmOptions) -> None:
        """Raises UserError where vLLM is not installed or cannot hold the model."""
        self.eos_id, self.max_length = eos_id, options.max_length
        self.llm = _start(str(path), options)
        rows = int(self.llm.llm_engine.model_config.get_vocab_size())
        self.padding_bias = dict.fromkeys(range(vocabulary, rows), NEVER) or None
        self.can_sleep = bool(self.llm.llm_engine.model_config.enable_sleep_mode)
        self.asleep = False

    def sample(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Rollout]:
        """One rollout per (prompt, seed); every request draws from a generator of its own."""
        from vllm import SamplingParams

        self._fits(len(prompt) + sampling.max_new_tokens for prompt in prompts)
        self._wake()
        settings = [
            SamplingParams(
                temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=sampling.max_new_tokens, seed=seed,
                stop_token_ids=[self.eos_id], ignore_eos=True, logprobs=0, detokenize=False, logit_bias=self.padding_bias,
            )
            for seed in seeds
        ]  # fmt: skip
        rollouts: dict[int, Rollout] = {}
        for place, output in self._generate(prompts, settings):
            rollouts[place] = self._rollout(output.outputs[0])
            if finished:
                finished(place, rollouts[place])
        return [rollouts[place] for place in range(len(prompts))]

    def _rollout(self, output: Any) -> Rollout:
        ids = list(output.token_ids)
        logprobs = [min(place[token].logprob, 0.0) for place, token in zip(output.logprobs, ids, strict=True)]
        return Rollout(ids, logprobs, "stop" if ids[-1] == self.eos_id else "length")

    def score(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[list[float]]:
        """Log-probs (nats, temperature 1) of the response tokens. Scored in pieces; the prefix cache is not read."""
        from vllm import SamplingParams

        wanted = sorted((i for i in range(len(prompts)) if responses[i]), key=lambda i: len(responses[i]))
        texts = {i: prompts[i] + responses[i] for i in wanted}
        self._fits(len(text) for text in texts.values())
        self._wake()
        settings = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False, temperature=0.0)
        scores: list[list[float]] = [[] for _ in prompts]
        for first in range(0, len(wanted), SEQUENCES_AT_ONCE):
            rows = wanted[first : first + SEQUENCES_AT_ONCE]
            for place, output in self._generate([texts[i] for i in rows], settings):
                i = rows[place]
                places = output.prompt_logprobs[len(prompts[i]) :]
                scores[i] = [place[token].logprob for place, token in zip(places, responses[i], strict=True)]
        return scores

    def begin(self, prompt: list[int], response: list[int]) -> None:
        """Nothing: it would compete with the sampling for this device."""

    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace the weights in place. What was cached of prompts under the old ones is forgotten."""
        self._wake("weights")
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        self.llm.apply_model(_repack_tied_head)
        self._wake()
        self.llm.reset_prefix_cache()

    def sleep(self) -> None:
        """Free the GPU memory of weights and cache until ``update``; nothing happens on the CPU."""
        if self.can_sleep and not self.asleep:
            self.llm.sleep(level=2)
            self.asleep = True

    def _wake(self, only: str | None = None) -> None:
        if self.asleep:
            self.llm.wake_up(tags=[only] if only else None)
            self.asleep = only is not None

    def _generate(self, prompts: Sequence[list[int]], settings: Any) -> Iterator[tuple[int, Any]]:
        """Place of each prompt and vLLM's output, as they end."""
        if not prompts:
            return
        names = self.llm.enqueue([{"prompt_token_ids": ids} for ids in prompts], settings, use_tqdm=False)
        engine, places = self.llm.llm_engine, {_number(name): place for place, name in enumerate(names)}
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    yield places[_number(output.request_id)], output

    def _fits(self, lengths: Iterable[int]) -> None:
        longest = max(lengths, default=0)
        if longest >= self.max_length:
            raise UserError(
                f"engine.max_length: {self.max_length} tokens are too few for prompt plus response ({longest}). Raise it, "
                "or lower sampling.max_new_tokens or prompts.max_prompt_tokens."
            )


def _number(name: str) -> int:
    """Of a request; vLLM adds random characters to some names of it."""
    return int(name.partition("-")[0])


def _repack_tied_head(model: Any) -> None:
    """On the CPU the head computes with a packed copy of its weights, which vLLM renews at a reload only if the head is not tied
    to the embedding."""
    head: Any = getattr(model, "lm_head", None)
    if model.config.tie_word_embeddings and hasattr(head, "cpu_linear"):
        head.quant_method.process_weights_after_loading(head)


def _start(path: str, options: VllmOptions) -> Any:
    """vLLM in this process, not in a child: only so can weights be handed over as tensors."""
    import torch

    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        from vllm import LLM
    except ImportError as error:
        raise UserError(
            "engine.kind: vllm is not installed here. environment.yml says how (on a machine without GPU: make test-vllm), "
            "or set engine.kind: torch."
        ) from error
    torchrun = "LOCAL_RANK" in os.environ
    # it warns that the tokenizer, left out on purpose, is not there
    logging.getLogger("vllm.renderers.base").setLevel(logging.ERROR)
    try:
        return LLM(
            path, revision=options.revision, skip_tokenizer_init=True, generation_config="vllm", dtype=options.dtype,
            tensor_parallel_size=options.tensor_parallel, max_model_len=options.max_length, enable_prefix_caching=True,
            distributed_executor_backend="external_launcher" if torchrun else None, seed=0,
            gpu_memory_utilization=options.memory_share, max_num_batched_tokens=max(options.score_tokens, 2048),
            enable_sleep_mode=torch.cuda.is_available(), enforce_eager=not torch.cuda.is_available(),
        )  # fmt: skip
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{path}: vLLM cannot hold it: {error}\nLower engine.max_length, or raise engine.memory_share or "
            "engine.tensor_parallel. `sgopd doctor` says what fits."
        ) from error
