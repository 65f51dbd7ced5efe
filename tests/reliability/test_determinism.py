"""The same study gives the same tables, byte for byte, whatever the batch size and the number of threads."""

import functools
import shutil
from pathlib import Path

import pytest
import torch

from sgopd.engines import torch_engine
from tests.reliability.conftest import STAGES, Run

pytestmark = pytest.mark.slow

TABLES = ("main.md", "main.csv", "main.tex", "benchmarks.csv", "problems.csv", "metrics.json", "settings.md")


@pytest.mark.parametrize(("batch_size", "threads"), [(3, "1"), (256, "2")])
def test_tables_do_not_depend_on_batch_size_or_threads(
    sgopd: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, threads: str
) -> None:
    before = torch.get_num_threads()
    for name in ("study.yaml", "mlflow.db"):
        shutil.copyfile(finished / name, tmp_path / name)
    shutil.copytree(finished / "data/models", tmp_path / "data/models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    sized = functools.partial(torch_engine.TorchEngine, batch_size=batch_size)
    monkeypatch.setattr(torch_engine, "TorchEngine", sized)
    try:
        for stage in STAGES[2:-1]:
            option = ["--threads", threads] if stage[0] in ("rollouts", "distil", "evaluate") else []
            assert sgopd(*stage, *option, "--study", "study.yaml")[0] == 0
    finally:
        torch.set_num_threads(before)
    for name in TABLES:
        assert Path("results/tables", name).read_bytes() == (finished / "results/tables" / name).read_bytes(), name
