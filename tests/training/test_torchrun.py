"""`sgopd distil` as the rules start it: under torchrun with two processes, in bfloat16, with adapters."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from safetensors import safe_open

from sgopd.artefacts import Artefacts
from sgopd.config import Study, override
from sgopd.launch import command
from sgopd.training.distil import distil
from tests.conftest import TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def ready(made: Path, checkout: Path) -> Path:
    shutil.copytree(made / "data", checkout / "data")
    return checkout


def run(changes: dict, *stages: str) -> Study:
    """The stages as the workflow's rules start them; returns the study."""
    raw = override(TINY, changes)
    Path("study.yaml").write_text(yaml.safe_dump(raw))
    study = Study.model_validate(raw)
    start = command(study.hardware).replace("torchrun", f"{sys.executable} -m torch.distributed.run")
    start = start if "-m sgopd" in start else f"{sys.executable} -m sgopd"
    for stage in stages:
        subprocess.run(
            f"{start} {stage} --study study.yaml", shell=True, check=True, env=os.environ | {"SGOPD_LOG": "ERROR"}
        )
    return study


def metrics(study: Study, method: str, phase: int) -> dict[tuple[int, str], float]:
    rows = pq.read_table(Artefacts(study).phase(method, 0, phase).folder / "metrics.parquet").to_pylist()
    return {(row["step"], row["name"]): row["value"] for row in rows}


def test_two_processes_go_through_the_phases_like_one(ready: Path) -> None:
    """With one thread each and float32 even the sampled tokens are the same: rollouts don't depend on who draws them."""
    alone = Study.model_validate(override(TINY, {"results": "alone"}))
    for phase in (1, 2):
        distil(alone, "sgopd", 0, phase)
    stages = [f"distil --method sgopd --phase {phase}" for phase in (1, 2)]
    both = run({"results": "both", "hardware": {"processes": 2}}, *stages)
    for phase in (1, 2):
        ours, theirs = metrics(alone, "sgopd", phase), metrics(both, "sgopd", phase)
        assert ours.keys() == theirs.keys()
        assert theirs == pytest.approx(ours, rel=0.02, abs=1e-3)
    folder = Artefacts(both).phase("sgopd", 0, 2).folder
    assert (folder / "model/model-00002-of-00002.safetensors").is_file()
    assert (
        json.loads((folder / "manifest.json").read_text())["fingerprint"]
        == Artefacts(alone).phase("sgopd", 0, 2).fingerprint
    )
    run({"results": "both", "hardware": {"processes": 2}}, "evaluate --method teacher")
    run({"results": "both"}, "distil --method sgopd --phase 3")  # what two wrote, one goes on from
    assert metrics(both, "sgopd", 3)[5, "grad_norm"] > 0


def test_in_bfloat16_weights_stay_float32_and_trainer_and_rollouts_agree(ready: Path) -> None:
    study = run({"models": {"dtype": "bfloat16"}, "results": "half"}, "distil --method opd --phase 1")
    found = metrics(study, "opd", 1)
    assert all(value < 0.2 for (_, name), value in found.items() if name == "mismatch/mean")
    with safe_open(Artefacts(study).phase("opd", 0, 1).folder / "model/model.safetensors", "pt") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float32"}  # noqa: SIM118


def test_adapters_go_on_from_phase_to_phase(ready: Path) -> None:
    pytest.importorskip("peft")
    changes = {"training": {"lora": {"rank": 4, "alpha": 8}, "gradient_checkpointing": True}, "results": "lora"}
    study = run(changes, "distil --method opd --phase 1", "distil --method opd --phase 2")
    folder = Artefacts(study).phase("opd", 0, 2).folder
    assert (folder / "adapters.safetensors").is_file()
    with safe_open(folder / "model/model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "lora" in name]  # noqa: SIM118
