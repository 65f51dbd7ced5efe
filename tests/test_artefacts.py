"""What a fingerprint depends on: exactly what the artefact depends on."""

from typing import Any

import pytest

from sgopd.artefacts import Artefact, Artefacts
from sgopd.config import Study, override
from tests.conftest import TINY


def artefacts(changes: dict[str, Any]) -> dict[str, Artefact]:
    a = Artefacts(Study.model_validate(override(TINY, changes)))
    return {
        "teacher": a.model("teacher"), "student": a.model("student"), "prompts": a.prompts, "rollouts": a.rollouts,
        "verdicts": a.verdicts, "opd": a.phase("opd", 0, 3), "sgopd": a.phase("sgopd", 0, 3),
        "evaluation": a.evaluation("opd", 0), "comparison": a.comparison,
    }  # fmt: skip


EVERYTHING = set(artefacts({}))
RUNS = {"opd", "sgopd", "evaluation", "comparison"}


@pytest.mark.parametrize(
    ("changes", "affected"),
    [
        ({"name": "renamed"}, set()),
        ({"results": "elsewhere"}, set()),
        ({"training": {"micro_batch_tokens": 99}}, RUNS),
        ({"training": {"checkpoint_every": 3}}, set()),
        ({"rollouts": {"shard_prompts": 3}}, set()),
        ({"training": {"gradient_checkpointing": True}}, set()),
        ({"hardware": {"processes": 8, "nodes": 2}}, set()),
        ({"engine": {"teacher": "http://node:8000/v1", "memory_share": 0.2}}, set()),
        ({"engine": {"kind": "vllm"}}, {"rollouts", "verdicts"} | RUNS),
        ({"training": {"lora": {"rank": 8}}}, RUNS),
        ({"verifier": {"workers": 2}}, set()),
        ({"evaluation": {"resamples": 200}}, {"comparison"}),
        ({"evaluation": {"samples": 4}}, {"evaluation", "comparison"}),
        ({"methods": {"sgopd": {"objective": {"options": {"lambda_consensus": 2.0}}}}}, {"sgopd", "comparison"}),
        ({"rollouts": {"sampling": {"temperature": 0.7}}}, {"rollouts", "verdicts", "sgopd", "comparison"}),
        ({"verifier": {"timeout_s": 1.0}}, {"verdicts", "sgopd", "comparison"}),
        ({"training": {"optimiser": {"lr": 0.1}}}, RUNS),
        ({"models": {"teacher": {"hidden": 32}}}, {"teacher", "rollouts", "verdicts"} | RUNS),
        ({"prompts": {"train": {"count": 13}}}, EVERYTHING - {"teacher", "student"}),
        ({"seed": 5}, EVERYTHING),
    ],
    ids=str,
)
def test_a_key_changes_the_fingerprints_of_what_reads_it_and_no_others(
    changes: dict[str, Any], affected: set[str]
) -> None:
    before, after = artefacts({}), artefacts(changes)
    assert {name for name in before if before[name].fingerprint != after[name].fingerprint} == affected


def test_shared_artefacts_lie_under_their_fingerprint_and_runs_under_their_name() -> None:
    found = artefacts({})
    assert found["rollouts"].folder.as_posix() == f"data/rollouts/{found['rollouts'].fingerprint}"
    assert found["opd"].folder.as_posix() == "results/runs/opd/seed0/phase3"


def test_a_later_phase_depends_on_the_one_before() -> None:
    a = Artefacts(Study.model_validate(TINY))
    assert a.phase("opd", 0, 2).inputs["previous"] == a.phase("opd", 0, 1).fingerprint
    assert a.phase("opd", 0, 1).fingerprint != a.phase("opd", 1, 1).fingerprint


def test_only_methods_that_read_the_cache_wait_for_it() -> None:
    a = Artefacts(Study.model_validate(TINY))
    assert "verdicts" not in a.phase("opd", 0, 1).inputs
    assert "verdicts" in a.phase("sgopd", 0, 1).inputs
    assert "verdicts" in a.phase("sft", 0, 1).inputs
