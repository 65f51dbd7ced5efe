"""What a training step reads: prompts in a fixed random order, and the teacher's cached rollouts V.

Knows tables and tokens; no model, no loss. The order depends on the seed alone, so that every method sees the same prompts.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sgopd.config import TeacherSampling
from sgopd.engines.base import Rollout
from sgopd.prompts.render import Prompt
from sgopd.store import stream
from sgopd.verifier import Verdict


@dataclass(frozen=True)
class TeacherSample:
    """One cached teacher rollout z ~ pi_T of a prompt. ``reward``: R(x, z), 1 iff the verifier says correct."""

    prompt: Prompt
    rollout: Rollout
    verdict: Verdict

    @property
    def response_ids(self) -> list[int]:
        return self.rollout.token_ids


Score = Callable[[Sequence[TeacherSample]], Sequence[float]]  # log-prob per token under the initial student


def order(seed: int, count: int, start: int, length: int) -> list[int]:
    """Positions ``start .. start+length`` of endless epochs over ``count`` items, each epoch in its own random order."""
    picked: list[int] = []
    while len(picked) < length:
        epoch, offset = divmod(start + len(picked), count)
        permutation = stream(seed, "epoch", epoch).permutation(count)
        picked += permutation[offset : offset + length - len(picked)].tolist()
    return picked


def teacher_samples(
    prompts: Sequence[Prompt], rollouts: pa.Table, verdicts: pa.Table, settings: TeacherSampling, score: Score
) -> dict[str, list[TeacherSample]]:
    """V: prompt_id -> its teacher rollouts that may be imitated; a prompt with none is absent (METHOD section 3).

    ``score`` is called for ``keep: likely`` alone, once, with every candidate.
    """
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    judged = {(row["prompt_id"], row["sample_index"]): row for row in verdicts.to_pylist()}
    found: dict[str, list[TeacherSample]] = defaultdict(list)
    for row in rollouts.to_pylist():
        verdict = judged[row["prompt_id"], row["sample_index"]]
        if row["prompt_id"] in by_id and (verdict["reward"] == 1.0 or settings.source == "unverified"):
            found[row["prompt_id"]].append(_sample(by_id[row["prompt_id"]], row, verdict))
    return _keep(found, settings.keep, score)


def _sample(prompt: Prompt, row: dict[str, Any], verdict: dict[str, Any]) -> TeacherSample:
    return TeacherSample(
        prompt,
        Rollout(row["response_ids"], row["logprobs"], row["finish_reason"]),
        Verdict(verdict["verdict"], verdict["answer"], verdict["reason"]),
    )


def _keep(found: dict[str, list[TeacherSample]], rule: str, score: Score) -> dict[str, list[TeacherSample]]:
    if rule == "all":
        return dict(found)
    if rule == "shortest":
        return {name: [min(samples, key=lambda sample: len(sample.response_ids))] for name, samples in found.items()}
    if rule == "likely":
        candidates = [sample for samples in found.values() for sample in samples]
        likelihood = dict(zip(map(id, candidates), score(candidates), strict=True))
        return {name: [max(samples, key=lambda sample: likelihood[id(sample)])] for name, samples in found.items()}
    return {name: samples[:1] for name, samples in found.items()}
