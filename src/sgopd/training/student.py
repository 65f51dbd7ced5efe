"""The student twice: as the model in training, and as the engine that samples from its newest weights.

In: the study's settings. Out: a transformers model ready for gradients, and an Engine. Knows no algorithm.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sgopd.config import Training
from sgopd.engines.base import Engine, Finished, LiveEngine, Rollout, Sampling
from sgopd.engines.forward import is_sharded
from sgopd.models import own_device
from sgopd.pair import Engines
from sgopd.training.adapters import add_adapters, as_stored, plain_weights
from sgopd.training.checkpoint import load_adapters
from sgopd.training.distributed import SharedWork, shard, world


def trained_student(engines: Engines, training: Training, weights: Path | None, seed: int) -> Any:
    """The student in training mode, from the folder ``weights`` of a phase or checkpoint, or as it was at the start.

    Weights are kept in float32. It is sharded where there are several processes, or where it computes in bfloat16.
    """
    if training.lora:
        model = engines.trained(None)  # adapters go on beside the weights they began with
        add_adapters(model, training.lora.rank, training.lora.alpha, seed)
        if weights:
            load_adapters(model, weights)
    else:
        model = engines.trained(weights / "model" if weights else None)
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    compute = getattr(torch, engines.study.models.dtype)
    model = model.to(own_device()) if world() == 1 and compute == torch.float32 else shard(model, compute)
    return model.train()


def student_engine(engines: Engines, model: Any) -> Engine:
    """An engine that samples from ``model`` as it is now: the model itself if it is whole, else one that is given its weights."""
    if engines.study.engine.kind == "torch" and not is_sharded(model):
        return engines.over(model)
    engine = engines.sampler(engines.artefacts.source("student"))
    shared = engine if world() == 1 else SharedWork(engine, engines.tensor_parallel)
    return Follower(shared, model, stored=engines.study.engine.kind == "vllm")


class Follower:
    """An engine that takes over the model's weights before it works and gives its memory back afterwards.

    stored: it names weights as a checkpoint does, not as the model in memory.
    """

    def __init__(self, engine: LiveEngine, model: Any, stored: bool = False) -> None:
        self.engine, self.model, self.stored = engine, model, stored

    def sample(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Rollout]:
        self._follow()
        rollouts = self.engine.sample(prompts, sampling, seeds, finished)
        self.engine.sleep()
        return rollouts

    def score(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[list[float]]:
        self._follow()
        scores = self.engine.score(prompts, responses)
        self.engine.sleep()
        return scores

    def begin(self, prompt: list[int], response: list[int]) -> None:
        """Nothing: its weights would have to be handed over first."""

    def _follow(self) -> None:
        weights = plain_weights(self.model)
        self.engine.update(as_stored(self.model, weights) if self.stored else weights)
