"""NaN or infinity in log-probs, gradients or weights stops a stage, with the batch saved for inspection."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sgopd import store
from sgopd.artefacts import Artefacts
from sgopd.config import Study, override
from sgopd.errors import NotFinite
from sgopd.training.distil import distil
from tests.conftest import TINY
from tests.reliability.conftest import Run

OPD = ["distil", "--method", "opd", "--phase", "1", "--study", "study.yaml"]


def poison(folder: Path, value: float) -> None:
    """One weight of a model becomes ``value``; its manifest is made to fit."""
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "down_proj" in name)
    tensors[name] = np.full_like(tensors[name], value)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    found = store.read_manifest(folder)
    store.finish(folder, found.kind, found.fingerprint, found.inputs, found.stats)


def stopped(sgopd: Run, arguments: list[str], evidence: str) -> tuple[str, Path]:
    code, message = sgopd(*arguments)
    assert code == 2 and "Traceback" not in message, message
    found = list(Path().rglob(evidence))
    assert len(found) == 1 and str(found[0].parent) in message
    return message, found[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_model_without_numbers_stops_training_and_the_batch_is_saved(
    sgopd: Run, ready: Path, role: Any, value: float
) -> None:
    poison(Artefacts(Study.model_validate(TINY)).model(role).folder, value)
    message, path = stopped(sgopd, OPD, "not-finite-step0000000/batch.json")
    assert f"log-probs of the {role}" in message and "step 0" in message
    saved = json.loads(path.read_text())
    tensors = load_file(path.with_name("batch.safetensors"))
    assert len(saved["rollouts"]) == 8 and tensors["logp_t"].shape == tensors["mask"].shape
    assert not np.isfinite(tensors["logp_t" if role == "teacher" else "logp_s"]).all()
    assert not list(ready.glob("results/runs/opd/seed0/phase1"))


def test_a_teacher_without_numbers_fills_no_cache(sgopd: Run, ready: Path) -> None:
    artefacts = Artefacts(Study.model_validate(TINY))
    poison(artefacts.model("teacher").folder, float("nan"))
    shutil.rmtree(artefacts.rollouts.folder)
    message, path = stopped(sgopd, ["rollouts", "--study", "study.yaml"], "not-finite-*/rollouts.json")
    assert "the teacher" in message and json.loads(path.read_text())["rollouts"][0]["logprobs"][0] == "nan"
    assert not artefacts.rollouts.folder.exists()


def test_weights_that_leave_the_range_of_numbers_stop_training(ready: Path) -> None:
    study = Study.model_validate(override(TINY, {"training": {"optimiser": {"lr": 1e37}}}))
    with pytest.raises(NotFinite, match=r"log-probs of the student|the weights"):
        for phase in (1, 2, 3):
            distil(study, "opd", 0, phase)
    assert list(ready.glob("results/runs/opd/seed0/not-finite-step*/batch.safetensors"))


def test_a_gradient_without_numbers_stops_before_the_weights_are_touched(ready: Path) -> None:
    imitation = {"schedule": "constant", "source": "unverified", "gamma0": 1e38}
    study = Study.model_validate(override(TINY, {"training": {"teacher_sampling": imitation}}))
    with pytest.raises(NotFinite, match="gradient norm"):
        distil(study, "opd", 0, 1)
    saved = json.loads(next(ready.glob("results/runs/opd/seed0/not-finite-step*/batch.json")).read_text())
    assert saved["teacher_rollouts"] and "gradient norm" in saved["error"]
