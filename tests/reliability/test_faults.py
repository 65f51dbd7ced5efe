"""Full, read-only and limited disks, too little memory, clocks that jump, processes side by side: a clear error or a wait."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sgopd import store, tracking
from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.errors import machine_fault
from tests.conftest import TINY
from tests.reliability.conftest import STUDY, Run

DISTIL = ["distil", "--method", "sgopd", "--phase", "1", "--study", "study.yaml"]
PHASE = Artefacts(Study.model_validate(STUDY)).phase("sgopd", 0, 1)
WITHOUT_TIMES = ("optimiser.safetensors", "metrics.parquet", "gate_tokens.parquet", "model/model.safetensors")


def mount(*options: str) -> None:
    done = subprocess.run(["mount", *options], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount a small file system: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path, database: Path) -> Iterator[Path]:
    """A file system of 8 MiB with the shared artefacts of the study, as working directory; MLflow's database lies elsewhere."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder))
    try:
        shutil.copytree(made / "data", folder / "data")
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
        shutil.copyfile(database, tmp_path / "mlflow.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        monkeypatch.chdir(folder)
        yield folder
    finally:
        os.chdir("/")
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave_free(folder: Path, size: int) -> None:
    """Fill the disk but for so many bytes."""
    (folder / "ballast").unlink(missing_ok=True)
    space = os.statvfs(folder)
    with (folder / "ballast").open("wb") as ballast:
        ballast.write(bytes(max(0, space.f_bavail * space.f_frsize - size)))


def test_a_full_disk_is_named_and_the_stage_goes_on_once_there_is_room(sgopd: Run, disk: Path, finished: Path) -> None:
    failures = 0
    for kibibytes in (0, 8, 24, 64, 120, 200, 280):
        leave_free(disk, kibibytes << 10)
        code, message = sgopd(*DISTIL)
        if code:
            failures += 1
            assert code == 2 and "The disk is full" in message and "Traceback" not in message, message
            assert not PHASE.manifest.exists()
    assert failures >= 3
    (disk / "ballast").unlink()
    assert sgopd(*DISTIL)[0] == 0
    store.verify(PHASE.folder)
    for name in WITHOUT_TIMES:
        assert (PHASE.folder / name).read_bytes() == (finished / PHASE.folder / name).read_bytes()
    assert not list(disk.rglob("*.tmp")) and not list(disk.rglob("*.partial")) and not list(disk.rglob("*.lock"))[1:]


def test_a_read_only_disk_is_named_and_what_is_complete_can_be_used(sgopd: Run, disk: Path) -> None:
    mount("-o", "remount,ro", str(disk))
    code, message = sgopd(*DISTIL)
    assert code == 2 and "read-only" in message.lower() and "Traceback" not in message
    assert sgopd("rollouts", "--study", "study.yaml") == (0, "")
    mount("-o", "remount,rw", str(disk))
    assert sgopd(*DISTIL)[0] == 0


@contextlib.contextmanager
def limit(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_a_limit_on_the_size_of_files_is_named(sgopd: Run, disk: Path) -> None:
    with limit(resource.RLIMIT_FSIZE, 12 << 10):
        code, message = sgopd(*DISTIL)
    assert code == 2 and "Traceback" not in message and ("ulimit -f" in message or "File too large" in message), message
    assert not PHASE.manifest.exists()
    assert sgopd(*DISTIL)[0] == 0


def test_too_little_memory_is_named() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for allocate in (lambda: np.ones(1 << 28), lambda: torch.ones(1 << 28)):
        with limit(resource.RLIMIT_AS, used + (256 << 20)), pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert "The memory is used up" in str(machine_fault(caught.value))


def test_dates_of_files_mean_nothing(sgopd: Run, disk: Path) -> None:
    assert sgopd(*DISTIL)[0] == 0
    before = (PHASE.folder / "metrics.parquet").stat().st_ino
    for i, path in enumerate(sorted(disk.rglob("*"))):
        os.utime(path, (0, 0) if i % 2 else (4e9, 4e9))
    assert sgopd(*DISTIL)[0] == 0
    assert (PHASE.folder / "metrics.parquet").stat().st_ino == before
    assert sgopd("distil", "--method", "sgopd", "--phase", "2", "--study", "study.yaml")[0] == 0


def test_a_clock_that_jumps_back_doubles_and_loses_no_point(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, study: Study
) -> None:
    from mlflow import MlflowClient

    def log(points: dict[int, float]) -> None:
        with tracking.run(study.name, "opd", 0, fingerprint="f", phase="phase1", params={}, tags={}) as run:
            for step, value in points.items():
                run.log(step, {"loss": value})

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    log({0: 1.0, 1: 2.0})
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    log({1: 2.0, 2: 3.0})
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name(study.name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "attributes.run_name = 'opd seed 0'")
    assert len(found) == 1
    assert sorted((m.step, m.value) for m in client.get_metric_history(found[0].info.run_id, "loss")) == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]


def test_a_second_process_waits_for_the_first_and_finds_its_work_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "below").mkdir()
    order: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with store.alone(tmp_path / "below" / ".x.lock"):
            inside.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with store.alone(tmp_path / "below" / ".x.lock"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"] and "waiting for it" in caplog.text
    assert list((tmp_path / "below").iterdir()) == []


@pytest.mark.slow
def test_two_studies_that_share_a_cache_make_it_once_side_by_side(checkout: Path, made: Path) -> None:
    shutil.copytree(made / "data", checkout / "data")
    rollouts = Artefacts(Study.model_validate(TINY)).rollouts
    whole = (rollouts.folder / "rollouts.parquet").read_bytes()
    shutil.rmtree(rollouts.folder)
    commands = []
    for name in ("one", "two", "three"):
        Path(f"{name}.yaml").write_text(yaml.safe_dump({**TINY, "name": name, "results": f"results/{name}"}))
        commands.append([sys.executable, "-m", "sgopd", "rollouts", "--study", f"{name}.yaml"])
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    logs = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("teacher rollouts" in log for log in logs) == 1 and sum("is complete" in log for log in logs) == 2
    store.verify(rollouts.folder)
    assert (rollouts.folder / "rollouts.parquet").read_bytes() == whole
    assert not list(checkout.rglob("*.lock"))[1:] and not list(checkout.rglob("*.partial"))
