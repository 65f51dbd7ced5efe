"""V and how it enters: which teacher rollouts are kept, the share of prompts, membership in the groups (METHOD section 3)."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from sgopd.artefacts import Artefacts
from sgopd.config import Study, TeacherSampling, override
from sgopd.prompts.render import Prompt
from sgopd.records import ROLLOUTS, VERDICTS
from sgopd.store import rows_to_table
from sgopd.training.data import TeacherSample, teacher_samples
from sgopd.training.learner import Learner
from sgopd.verifier import Verdict
from tests.conftest import TINY

PROMPTS = [Prompt(name, [1], [1], "0", "", 0.0) for name in ("a", "b", "c")]
# of prompt a: a wrong rollout, then two right ones, the longer first; of b: one wrong; none of c
CACHE = [("a", 0, [5], 0.0), ("a", 1, [6, 7, 2], 1.0), ("a", 2, [8, 2], 1.0), ("b", 0, [9, 2], 0.0), ("z", 0, [4], 1.0)]


def cache() -> tuple[list[pa.Table], list[pa.Table]]:
    rollouts = [
        {"prompt_id": p, "sample_index": i, "response_ids": ids, "logprobs": [-0.1] * len(ids), "finish_reason": "stop",
         "text": ""} for p, i, ids, _ in CACHE
    ]  # fmt: skip
    verdicts = [
        {"prompt_id": p, "sample_index": i, "verdict": "correct" if R else "incorrect", "reward": R, "answer": "",
         "reason": ""} for p, i, _, R in CACHE
    ]  # fmt: skip
    return [rows_to_table(rollouts, ROLLOUTS)], [rows_to_table(verdicts, VERDICTS)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"keep": "first"}, {"a": [[6, 7, 2]]}),
        ({"keep": "shortest"}, {"a": [[8, 2]]}),
        ({"keep": "likely"}, {"a": [[6, 7, 2]]}),
        ({"keep": "all"}, {"a": [[6, 7, 2], [8, 2]]}),
        ({"keep": "first", "source": "unverified"}, {"a": [[5]], "b": [[9, 2]]}),
        ({"keep": "likely", "source": "unverified"}, {"a": [[6, 7, 2]], "b": [[9, 2]]}),
    ],
)
def test_a_prompt_keeps_the_rollouts_that_the_settings_name(settings: dict[str, Any], expected: object) -> None:
    def likelihood(samples: Any) -> list[float]:
        return [{5: -3.0, 6: -1.0, 8: -2.0, 9: -9.0}[sample.response_ids[0]] for sample in samples]

    found = teacher_samples(PROMPTS, *cache(), TeacherSampling(**settings), likelihood)
    assert {name: [s.response_ids for s in samples] for name, samples in found.items()} == expected


@pytest.fixture
def learner(made: Path, checkout: Path, request: pytest.FixtureRequest) -> Learner:
    """Of the tiny study with these settings of teacher_sampling."""
    shutil.copytree(made / "data", checkout / "data")
    changes = {"training": {"objective": {"rule": "sgopd"}, "teacher_sampling": request.param}}
    study = Study.model_validate(override(TINY, {**changes, "methods": {"opd": {}}}))
    return Learner(Artefacts(study), study.runs["opd"], 0, weights=None)


@pytest.mark.parametrize("learner", [{"schedule": "cosine", "source": "unverified", "keep": "likely"}], indirect=True)
def test_likely_means_under_the_initial_student(learner: Learner) -> None:
    with torch.no_grad():  # the live student is another model by now
        for parameter in learner.model.parameters():
            parameter.add_(torch.randn_like(parameter))
    everything = learner.training.teacher_sampling.model_copy(update={"keep": "all"})
    training = learner.training.model_copy(update={"teacher_sampling": everything})
    initial = Learner(Artefacts(Study.model_validate(TINY)), training, 0, weights=None)
    for name, candidates in initial.imitable.items():
        scores = initial.student.score([s.prompt.token_ids for s in candidates], [s.response_ids for s in candidates])
        means = [sum(score) / len(score) for score in scores]
        assert learner.imitable[name][0].response_ids == candidates[means.index(max(means))].response_ids


@pytest.mark.parametrize("learner", [{"schedule": "share", "source": "unverified", "gamma0": 0.2}], indirect=True)
def test_the_share_thins_the_prompts_and_not_the_weight(learner: Learner) -> None:
    batch = learner.score(*learner.rollouts(0))
    rows = range(len(batch.prompts))
    everybody, total = learner.imitable_of(0, batch, rows)  # phase I
    assert len(everybody) == total == len({prompt.prompt_id for prompt in batch.prompts})
    assert learner.imitable_of(5, batch, rows) == ([], total)  # phase III
    learner.training = learner.training.model_copy(update={"steps": 4000, "hold": 0.0, "decay": 1.0})
    kept = [len(learner.imitable_of(step, batch, rows)[0]) / total for step in range(1800, 2200)]
    assert sum(kept) / len(kept) == pytest.approx(0.5, abs=0.05)
    assert learner.imitable_of(2000, batch, rows) == learner.imitable_of(2000, batch, rows)


@pytest.mark.parametrize("learner", [{"schedule": "in_group", "source": "unverified"}], indirect=True)
def test_in_group_the_teachers_rollout_counts_in_its_prompts_group_and_nowhere_else(learner: Learner) -> None:
    batch = learner.score(*learner.rollouts(0))
    wrong = Verdict("incorrect", "", "")
    batch = replace(batch, verdicts=[wrong] * len(batch.prompts))
    first = batch.prompts[0]
    ids, logprobs = np.array([3, 4, 5] * 9), np.full(27, -0.5)
    right = TeacherSample(first, ids, logprobs, "stop", Verdict("correct", "", ""))
    learner.imitable = {first.prompt_id: [right]}
    got = learner.advantage(0, batch)
    alone = learner.advantage(5, batch)  # phase III
    assert got.values.shape == alone.values.shape == batch.mask.shape
    assert alone.group_advantage.tolist() == [0.0] * len(batch.prompts)
    expected = (0 - 1 / 3) / ((2 / 9) ** 0.5 + 1e-6)  # rewards 0, 0 and the teacher's 1
    assert got.group_advantage[:2].tolist() == pytest.approx([expected] * 2)
    assert got.group_advantage[2:].tolist() == [0.0] * (len(batch.prompts) - 2)
    assert torch.equal(got.values[2:], alone.values[2:])
    assert "loss/imitation" in learner.step(0)
