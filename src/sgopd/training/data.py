"""What a training step reads: prompts in a fixed random order, and the teacher's cached rollouts V.

Knows tables and tokens; no model, no loss. The order depends on the seed alone, so that every method sees the same prompts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from sgopd.config import TeacherSampling
from sgopd.engines.base import Rollout
from sgopd.errors import UserError
from sgopd.prompts.render import Prompt
from sgopd.store import stream
from sgopd.verifier import Verdict


@dataclass(frozen=True)
class TeacherSample:
    """One cached teacher rollout z ~ pi_T of a prompt, its numbers packed: 8 bytes a token, where lists take 68."""

    prompt: Prompt
    ids: np.ndarray  # [T] int32
    logprobs: np.ndarray  # [T] float32
    finish_reason: Literal["stop", "length"]
    verdict: Verdict

    @property
    def rollout(self) -> Rollout:
        return Rollout(self.response_ids, self.logprobs.tolist(), self.finish_reason)

    @property
    def response_ids(self) -> list[int]:
        return self.ids.tolist()  # type: ignore[no-any-return]


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
    prompts: Sequence[Prompt],
    rollouts: Iterable[pa.Table],
    verdicts: Iterable[pa.Table],
    settings: TeacherSampling,
    score: Score,
) -> dict[str, list[TeacherSample]]:
    """V: prompt_id -> its teacher rollouts that may be imitated; a prompt with none is absent (METHOD section 3).

    ``rollouts`` and ``verdicts`` are the parts of the two tables, row by row about the same samples: one part of each is in
    memory, and what V keeps. ``score`` is called for ``keep: likely`` alone, once, with every candidate.
    """
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    found: dict[str, list[TeacherSample]] = defaultdict(list)
    for part, judged in zip(rollouts, verdicts, strict=True):
        if not all(part[name].equals(judged[name]) for name in ("prompt_id", "sample_index")):
            raise UserError("verdicts.parquet is about other rollouts than rollouts.parquet. Delete it and run again.")
        for i, (name, reward) in enumerate(
            zip(part["prompt_id"].to_pylist(), judged["reward"].to_pylist(), strict=True)
        ):
            if name in by_id and (reward == 1.0 or settings.source == "unverified"):
                if settings.keep == "first" and found[name]:
                    continue
                found[name].append(_sample(by_id[name], part, judged, i))
                if settings.keep == "shortest":
                    found[name] = [min(found[name], key=lambda sample: len(sample.ids))]
    return _keep(found, settings.keep, score)


def _sample(prompt: Prompt, rollouts: pa.Table, verdicts: pa.Table, i: int) -> TeacherSample:
    ids, logprobs = (rollouts[name][i].values.to_numpy().copy() for name in ("response_ids", "logprobs"))
    verdict = Verdict(*(verdicts[name][i].as_py() for name in ("verdict", "answer", "reason")))
    return TeacherSample(prompt, ids, logprobs, rollouts["finish_reason"][i].as_py(), verdict)


def _keep(found: dict[str, list[TeacherSample]], rule: str, score: Score) -> dict[str, list[TeacherSample]]:
    """``first`` and ``shortest`` were applied row by row; ``likely`` needs the initial student's scores of all candidates."""
    if rule == "likely":
        candidates = [sample for samples in found.values() for sample in samples]
        likelihood = dict(zip(map(id, candidates), score(candidates), strict=True))
        return {name: [max(samples, key=lambda sample: likelihood[id(sample)])] for name, samples in found.items()}
    return dict(found)
