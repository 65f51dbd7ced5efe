"""SIGTERM: a checkpoint is written, the process leaves soon with exit code 143, and the next call ends with the same bytes."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.training import learner as learners
from sgopd.training.checkpoint import Checkpoints
from sgopd.training.distil import distil

WITHOUT_TIMES = ("optimiser.safetensors", "metrics.parquet", "gate_tokens.parquet", "model/model.safetensors")
METHOD = "sgopd"


def when(monkeypatch: pytest.MonkeyPatch, name: str, call: int, after: bool) -> None:
    """Send SIGTERM to this process at the given call of a method of the learner, before or after the method's work."""
    original = getattr(learners.Learner, name)
    calls: list[int] = []

    def signalled(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == call and not after:
            os.kill(os.getpid(), signal.SIGTERM)
        result = original(self, *arguments)
        if len(calls) == call and after:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(learners.Learner, name, signalled)


@pytest.fixture(scope="module")
def undisturbed(made: Path, study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the phase writes when nobody sends a signal."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        shutil.copytree(made / "data", folder / "data")
        phase = distil(study, METHOD, 0, 1)
        return {name: (phase / name).read_bytes() for name in WITHOUT_TIMES}


@pytest.mark.parametrize(
    ("name", "call", "after", "step"),
    [
        ("score", 2, True, 1),
        ("_update", 1, True, 1),
        ("validate", 1, False, 0),
        ("validate", 2, False, 2),
    ],
)
def test_a_signal_at_any_moment_of_training_saves_and_leaves_and_the_next_call_ends_the_same(
    ready: Path,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    call: int,
    after: bool,
    step: int,
    undisturbed: dict[str, bytes],
) -> None:
    phase = Artefacts(study).phase(METHOD, 0, 1)
    with monkeypatch.context() as patch:
        when(patch, name, call, after)
        start = time.monotonic()
        with pytest.raises(SystemExit) as end:
            distil(study, METHOD, 0, 1)
        assert end.value.code == 143 and time.monotonic() - start < 20
    newest = Checkpoints(phase.partial).newest()
    assert newest is not None and Checkpoints.read_progress(newest).step == step
    distil(study, METHOD, 0, 1)
    found = {name: (phase.folder / name).read_bytes() for name in WITHOUT_TIMES}
    assert found == undisturbed


def test_outside_the_main_thread_training_runs_without_a_handler(ready: Path, study: Study) -> None:
    thread = threading.Thread(target=distil, args=(study, METHOD, 0, 1))
    thread.start()
    thread.join()
    assert Artefacts(study).phase(METHOD, 0, 1).manifest.is_file()
