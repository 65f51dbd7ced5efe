"""The distillation stage on a tiny study: phases hand on, a killed run resumes, the same bytes come out."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from sgopd.artefacts import Artefacts
from sgopd.config import Study, override
from sgopd.store import is_complete
from sgopd.training.distil import distil
from tests.conftest import TINY

WITHOUT_TIMES = ("optimiser.safetensors", "metrics.parquet", "gate_tokens.parquet", "model/model.safetensors")


@pytest.fixture
def ready(made: Path, checkout: Path) -> Path:
    shutil.copytree(made / "data", checkout / "data")
    return checkout


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in WITHOUT_TIMES}


@pytest.mark.parametrize("method", ["opd", "sgopd", "sft"])
def test_three_phases_run_one_after_the_other_and_cover_all_steps(ready: Path, study: Study, method: str) -> None:
    folders = [distil(study, method, 0, phase) for phase in (1, 2, 3)]
    rows = [row for folder in folders for row in pq.read_table(folder / "metrics.parquet").to_pylist()]
    name = "loss/imitation" if method == "sft" else "loss/policy"
    assert [row["step"] for row in rows if row["name"] == name] == list(range(6))
    assert [row["phase"] for row in rows if row["name"] == name] == [1, 1, 2, 2, 3, 3]
    assert [row["step"] for row in rows if row["name"] == "validation/accuracy"] == [0, 2, 4, 6]
    assert all(
        is_complete(folder, Artefacts(study).phase(method, 0, i).fingerprint) for i, folder in enumerate(folders, 1)
    )
    assert not list(ready.rglob("*.partial"))


def test_teacher_rollouts_enter_with_the_weight_of_the_schedule(ready: Path, study: Study) -> None:
    rows = [
        row
        for phase in (1, 2, 3)
        for row in pq.read_table(distil(study, "sgopd", 0, phase) / "metrics.parquet").to_pylist()
    ]
    gamma = [row["value"] for row in rows if row["name"] == "gamma"]
    assert gamma == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.0, 0.0])
    assert len([row for row in rows if row["name"] == "loss/imitation"]) == 4


def test_a_finished_phase_is_left_alone(ready: Path, study: Study) -> None:
    folder = distil(study, "opd", 0, 1)
    before = (folder / "manifest.json").stat().st_mtime_ns
    distil(study, "opd", 0, 1)
    assert (folder / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_killed_phase_goes_on_from_its_checkpoint_and_ends_with_the_same_bytes(
    ready: Path, study: Study, number: int, code: int
) -> None:
    whole = contents(distil(study, "opd", 1, 1)) | contents(distil(study, "opd", 1, 2))
    partial = Artefacts(study).phase("opd", 1, 2).partial
    shutil.rmtree(ready / "results" / "runs" / "opd" / "seed1" / "phase2")
    (ready / "study.yaml").write_text(yaml.safe_dump(TINY))
    command = [
        sys.executable,
        "-m",
        "sgopd",
        "distil",
        "--method",
        "opd",
        "--seed",
        "1",
        "--phase",
        "2",
        "--study",
        "study.yaml",
    ]
    process = subprocess.Popen(command, env=os.environ | {"SGOPD_LOG": "ERROR"})
    deadline = time.monotonic() + 60
    while not list(partial.glob("step*/progress.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait() == code
    interrupted = list(partial.glob("step*/progress.json"))
    assert contents(distil(study, "opd", 1, 2)) == {name: whole[name] for name in WITHOUT_TIMES}
    assert interrupted, "the kill came too late to interrupt anything"


def test_the_gradient_depends_neither_on_the_micro_batch_size_nor_on_recomputation(ready: Path) -> None:
    saving = {"micro_batch_tokens": 40, "gradient_checkpointing": True}
    small = Study.model_validate(override(TINY, {"results": "small", "training": saving}))
    large = Study.model_validate(override(TINY, {"results": "large"}))
    rows = [pq.read_table(distil(s, "opd", 0, 1) / "metrics.parquet").to_pylist() for s in (small, large)]
    for a, b in zip(*rows, strict=True):
        assert a["name"] == b["name"] and a["value"] == pytest.approx(b["value"], rel=1e-3, abs=1e-5)


def test_a_method_can_descend_a_divergence_over_the_vocabulary(ready: Path) -> None:
    method = {"objective": {"base": "jsd", "top_k": 4}, "optimiser": {"lr": 0.01}}
    study = Study.model_validate(override(TINY, {"results": "jsd", "methods": {"opd": method}}))
    rows = [row for p in (1, 2, 3) for row in pq.read_table(distil(study, "opd", 0, p) / "metrics.parquet").to_pylist()]
    losses = [row["value"] for row in rows if row["name"] == "loss/policy"]
    assert len(losses) == 6 and min(losses) > 0
    sampled = pq.read_table(distil(Study.model_validate(TINY), "opd", 0, 1) / "metrics.parquet").to_pylist()
    for name in ("delta/mean", "delta/abs", "gate/agreement", "reward"):  # of the first batch, which is the same
        ours, theirs = (
            next(row["value"] for row in r if (row["step"], row["name"]) == (0, name)) for r in (rows, sampled)
        )
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_methods_see_the_same_first_batch(ready: Path, study: Study) -> None:
    first = []
    for method in ("opd", "sgopd"):
        table = pq.read_table(distil(study, method, 0, 1) / "gate_tokens.parquet").to_pylist()
        first.append(
            [(row["prompt_id"], row["token_ids"]) for row in table if row["step"] == 0 and row["rollout_index"] < 4]
        )
    assert first[0] == first[1]


def test_several_updates_per_batch_clip_the_ratio(ready: Path) -> None:
    settings = {"results": "several", "training": {"updates_per_batch": 2, "optimiser": {"lr": 0.05}}}
    study = Study.model_validate(override(TINY, settings))
    rows = pq.read_table(distil(study, "opd", 0, 1) / "metrics.parquet").to_pylist()
    assert max(row["value"] for row in rows if row["name"] == "clip_share/ratio") > 0
