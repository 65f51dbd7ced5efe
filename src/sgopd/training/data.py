"""What a training step reads: prompts in a fixed random order, and the teacher's cached rollouts V.

Knows tables and tokens; no model, no loss. The order depends on the seed alone, so that every method sees the same prompts.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sgopd.config import TeacherSampling
from sgopd.prompts.render import Prompt
from sgopd.store import stream


@dataclass(frozen=True)
class TeacherSample:
    """One cached teacher rollout z ~ pi_T of a prompt."""

    prompt: Prompt
    response_ids: list[int]
    mean_logprob: float


def order(seed: int, count: int, start: int, length: int) -> list[int]:
    """Positions ``start .. start+length`` of endless epochs over ``count`` items, each epoch in its own random order."""
    picked: list[int] = []
    while len(picked) < length:
        epoch, offset = divmod(start + len(picked), count)
        permutation = stream(seed, "epoch", epoch).permutation(count)
        picked += permutation[offset : offset + length - len(picked)].tolist()
    return picked


def teacher_samples(
    prompts: Sequence[Prompt], rollouts: pa.Table, verdicts: pa.Table, settings: TeacherSampling
) -> dict[str, list[TeacherSample]]:
    """V: prompt_id -> its teacher rollouts that may be imitated; a prompt with none is absent (METHOD section 3)."""
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    rewards = {(row["prompt_id"], row["sample_index"]): row["reward"] for row in verdicts.to_pylist()}
    found: dict[str, list[TeacherSample]] = defaultdict(list)
    for row in rollouts.to_pylist():
        verified = rewards[row["prompt_id"], row["sample_index"]] == 1.0
        if row["prompt_id"] in by_id and (verified or settings.source == "unverified"):
            found[row["prompt_id"]].append(_sample(by_id[row["prompt_id"]], row))
    return {prompt_id: _keep(samples, settings.keep) for prompt_id, samples in found.items()}


def _sample(prompt: Prompt, row: dict[str, Any]) -> TeacherSample:
    return TeacherSample(prompt, row["response_ids"], float(np.mean(row["logprobs"])))


def _keep(samples: list[TeacherSample], rule: str) -> list[TeacherSample]:
    if rule == "all":
        return samples
    if rule == "shortest":
        return [min(samples, key=lambda sample: len(sample.response_ids))]
    if rule == "likely":
        return [max(samples, key=lambda sample: sample.mean_logprob)]
    return samples[:1]
