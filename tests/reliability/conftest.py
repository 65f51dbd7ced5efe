"""A small study that is finished, and the command line called in this process."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sgopd import cli, store
from tests.conftest import TINY

STUDY = TINY | {"seeds": [0], "methods": {"sgopd": TINY["methods"]["sgopd"]}, "baseline": "sgopd"}
STAGES: list[list[str]] = [
    ["model", "teacher"], ["model", "student"], ["prompts"], ["rollouts"], ["verdicts"],
    *(["distil", "--method", "sgopd", "--phase", str(phase)] for phase in (1, 2, 3)),
    *(["evaluate", "--method", method] for method in ("sgopd", "teacher", "student")), ["compare"], ["report"],
]  # fmt: skip

Run = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def sgopd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``sgopd(*arguments)`` gives exit code and error output, as from a fresh process."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["sgopd", *arguments])
        store._verified.clear()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, made: Path, database: Path) -> Path:
    """A folder with study.yaml and the finished study; copy it before changing it."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(made / "data", folder / "data")
    shutil.copyfile(database, folder / "mlflow.db")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for stage in STAGES[5:]:
            patch.setattr(sys, "argv", ["sgopd", *stage, "--study", "study.yaml"])
            with pytest.raises(SystemExit) as end:
                cli.main()
            assert not end.value.code
    return folder


@pytest.fixture
def ready(made: Path, checkout: Path) -> Path:
    shutil.copytree(made / "data", checkout / "data")
    (checkout / "study.yaml").write_text(yaml.safe_dump(TINY))
    return checkout


def tree(folder: Path) -> set[str]:
    """Every path below the folder, but for MLflow's."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.startswith("mlflow")}
