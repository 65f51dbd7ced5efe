"""A tiny untrained study that every stage can run in seconds."""

from pathlib import Path
from typing import Any

import pytest

from sgopd.config import Study

LESSONS = [{"steps": 2, "lr": 1e-3}]
TINY: dict[str, Any] = {
    "name": "test",
    "seeds": [0, 1],
    "models": {
        "prompt_template": "{problem}",
        "teacher": {"kind": "embedded", "hidden": 16, "heads": 2, "lessons": [*LESSONS, {"steps": 3, "flaw": 1.0}]},
        "student": {"kind": "embedded", "hidden": 16, "heads": 2, "lessons": LESSONS},
    },
    "prompts": {
        "train": {"kind": "synthetic", "count": 12},
        "validation": {"kind": "synthetic", "count": 4},
        "benchmarks": {
            "chain": {"kind": "synthetic", "count": 6},
            "longer": {"kind": "synthetic", "count": 5, "operations": [7, 7]},
        },
    },
    "rollouts": {"samples_per_prompt": 2, "sampling": {"max_new_tokens": 8}, "shard_prompts": 5},
    "training": {
        "steps": 6, "prompts_per_step": 4, "group_size": 2, "sampling": {"max_new_tokens": 8}, "optimiser": {"lr": 1e-3},
        "hold": 0.34, "decay": 0.67, "checkpoint_every": 1, "validate_every": 2,
    },
    "methods": {
        "opd": {},
        "sgopd": {"objective": {"rule": "sgopd"}, "teacher_sampling": {"schedule": "cosine", "source": "unverified"}},
        "sft": {"objective": {"rule": "sft"}, "teacher_sampling": {"source": "unverified", "keep": "all"}},
    },
    "evaluation": {"samples": 2, "pass_k": [2], "sampling": {"max_new_tokens": 8}, "resamples": 100},
}  # fmt: skip


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making its tables takes seconds, so tests copy it."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path) -> Path:
    """An empty folder as working directory, with an MLflow database of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    # absolute, because mlflow keeps one store per URI for the whole process
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def study() -> Study:
    return Study.model_validate(TINY)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, study: Study) -> Path:
    """A folder with the study's models, prompts, rollouts and verdicts; copy or only read it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        from sgopd import pretrain, rollouts
        from sgopd.prompts import stage

        pretrain.train_model(study, "teacher")
        pretrain.train_model(study, "student")
        stage.prepare(study)
        rollouts.sample_teacher(study)
        rollouts.judge_teacher(study)
    return folder
