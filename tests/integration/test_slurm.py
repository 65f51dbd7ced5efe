"""`snakemake --cores all --profile slurm` on a real Slurm: what jobs ask for, and what a run survives."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.study_files import load_study
from sgopd.training.distil import distil
from tests.integration.conftest import environment, make_checkout, snakemake
from tests.integration.slurm import Slurm

pytestmark = pytest.mark.integration

RESOURCES = {
    "model": {"gpus": 1, "memory_gb": 1.5, "minutes": 30, "partition": "gpu"},
    "distil": {"cpus": 2, "gpus": 8, "memory_gb": 400, "minutes": 1200, "partition": "long", "account": "maths"},
}
TABLES = ("main.md", "main.csv", "main.tex", "benchmarks.csv", "problems.csv", "metrics.json", "settings.md")


def test_resources_of_the_study_reach_the_jobs_and_the_profile_fills_the_rest(tmp_path: Path, database: Path) -> None:
    folder = make_checkout(tmp_path, database, resources=RESOURCES)
    text = snakemake(folder, "--profile", "slurm", "-n").stdout
    lines = [line for line in text.splitlines() if "resources:" in line]
    phase = next(line for line in lines if "slurm_account=maths" in line)
    for asked in ("gpu=8", "mem_mb=400000", "runtime=1200", "slurm_partition=long"):
        assert asked in phase
    assert any("mem_mb=4000" in line and "runtime=240" in line and "gpu=" not in line for line in lines)


@pytest.mark.timeout(400)
def test_a_job_gets_the_gpu_memory_time_and_partition_that_the_study_asks_for(
    slurm: Slurm, tmp_path: Path, database: Path
) -> None:
    folder = make_checkout(tmp_path, database, resources=RESOURCES)
    model = Artefacts(load_study(folder / "study.yaml")).model("student").manifest
    done = snakemake(folder, "--profile", "slurm", str(model))
    assert done.returncode == 0, done.stdout
    assert (folder / model).is_file()
    job = slurm.jobs("COMPLETED")[-1]
    asked = slurm.ask("squeue", "-h", "-t", "all", "-j", job, "-o", "%P %m %l %C")
    assert asked == "gpu 1500M 30:00 1"
    assert "gpu:1" in slurm.ask("scontrol", "show", "job", job).replace("=", ":")


# Long enough to be disturbed in the middle of a phase
LONG = {
    "seeds": [0],
    "training": {"steps": 1000, "hold": 0.05, "decay": 0.1, "checkpoint_every": 2, "validate_every": 200},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """The study run on this machine without Slurm."""
    folder = make_checkout(tmp_path_factory.mktemp("undisturbed"), database, **LONG)
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout
    return folder


class Disturbed:
    """The same study under Slurm: a running `snakemake`, and what its jobs have got to."""

    def __init__(self, folder: Path, slurm: Slurm) -> None:
        self.folder, self.slurm = folder, slurm
        self.log = folder / "snakemake.txt"
        self.started = 0
        self.process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        command = ["snakemake", "--cores", "all", "--profile", "slurm", "--config", "study=study.yaml"]
        with self.log.open("a") as out:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdout=out, stderr=out, start_new_session=True
            )

    def wait_for_steps(self, more: int = 6) -> None:
        """Wait until a job under way has saved this many steps more than the last time that we looked."""
        self.started = max(self.steps(), self.started if self.steps() else 0)
        self.slurm.wait_for(lambda: self.steps() >= self.started + more, "progress", 1200)
        self.started = self.steps()

    def steps(self) -> int:
        """The newest checkpoint of opd's phase III."""
        found = self.folder.glob("results/runs/opd/seed0/.phase3.*.partial/step*/progress.json")
        return max((int(path.parent.name.removeprefix("step")) for path in found), default=0)

    def job(self) -> str:
        """The job that runs opd's phases."""
        for job in self.slurm.jobs("RUNNING"):
            steps = [pid for pid in self.slurm.job_processes() if f"SLURM_JOB_ID={job}" in _environ(pid)]
            if any("--method opd" in _command(pid) for pid in steps):
                return job
        raise AssertionError("no job of opd is running")

    def finish(self) -> str:
        assert self.process is not None
        self.process.wait(1800)
        text = self.log.read_text()
        assert self.process.returncode == 0, text[-6000:]
        return text

    def phase_log(self) -> str:
        return (self.folder / "results/logs/opd-seed0-phase3.log").read_text()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _environ(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


@pytest.fixture
def disturbed(slurm: Slurm, undisturbed: Path, tmp_path: Path, database: Path) -> Iterator[Disturbed]:
    folder = make_checkout(tmp_path, database, **LONG)
    shutil.copytree(undisturbed / "data", folder / "data")  # the phases are what gets disturbed
    run = Disturbed(folder, slurm)
    run.start()
    yield run
    if run.process is not None and run.process.poll() is None:
        os.killpg(run.process.pid, signal.SIGKILL)
    slurm.ask("scancel", "--user=root")


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "results" / "tables" / name).read_bytes() for name in TABLES}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_cancelled_job_a_time_limit_and_a_node_failure_change_nothing_in_the_tables(
    undisturbed: Path, disturbed: Disturbed
) -> None:
    slurm = disturbed.slurm
    disturbed.wait_for_steps()
    slurm.ask("scancel", disturbed.job())  # Snakemake submits it again
    disturbed.wait_for_steps()
    assert "goes on from step" in disturbed.phase_log()
    slurm.ask("scontrol", "update", f"jobid={disturbed.job()}", "timelimit=1")
    slurm.wait_for(lambda: "was asked to leave (SIGTERM)" in disturbed.phase_log(), "the time limit", 300)
    disturbed.wait_for_steps()
    slurm.crash_nodes()
    slurm.ask("scontrol", "update", f"nodename={','.join(slurm.nodes)}", "state=down", "reason=crash")
    time.sleep(2)
    slurm.start_nodes()  # Slurm queues the job again, or Snakemake does
    text = disturbed.finish()
    assert tables(disturbed.folder) == tables(undisturbed), text[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_killed_snakemake_is_followed_by_one_that_goes_on(undisturbed: Path, disturbed: Disturbed) -> None:
    disturbed.wait_for_steps()
    assert disturbed.process is not None
    os.killpg(disturbed.process.pid, signal.SIGKILL)  # its jobs live on in Slurm
    disturbed.process.wait()
    unlocked = snakemake(disturbed.folder, "--unlock")
    assert unlocked.returncode == 0, unlocked.stdout
    disturbed.start()
    disturbed.finish()
    assert tables(disturbed.folder) == tables(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_on_two_nodes_is_the_run_on_one(
    slurm: Slurm, made: Path, tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkout(tmp_path, database, hardware={"nodes": 2}, resources={"distil": {"gpus": 1}})
    shutil.copytree(made / "data", folder / "data")
    artefacts = Artefacts(load_study(folder / "study.yaml"))
    phase = artefacts.phase("opd", 0, 1)
    done = snakemake(folder, "--profile", "slurm", str(artefacts.evaluation("opd", 0).manifest))
    assert done.returncode == 0, done.stdout
    assert slurm.ask("squeue", "-h", "-t", "COMPLETED", "-o", "%D").split()[-1] == "2"
    assert (folder / phase.folder / "model/model-00002-of-00002.safetensors").is_file(), "each process writes a part"
    monkeypatch.chdir(folder)
    alone = Study.model_validate(yaml.safe_load(Path("study.yaml").read_text()) | {"results": "alone", "hardware": {}})
    ours, theirs = (
        {(row["step"], row["name"]): row["value"] for row in pq.read_table(at / "metrics.parquet").to_pylist()}
        for at in (distil(alone, "opd", 0, 1), phase.folder)
    )
    assert theirs == pytest.approx(ours, rel=0.02, abs=1e-3) and ours


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_message_of_a_failed_job_leads_to_its_log(slurm: Slurm, made: Path, tmp_path: Path, database: Path) -> None:
    folder = make_checkout(tmp_path, database)
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study["prompts"]["max_prompt_tokens"] = 3  # no prompt is that short
    shutil.copytree(made / "data" / "models", folder / "data" / "models")
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    artefacts = Artefacts(load_study(folder / "study.yaml"))
    done = snakemake(folder, "--profile", "slurm", "--retries", "0", str(artefacts.prompts.manifest))
    assert done.returncode != 0
    log = f"data/logs/prompts-{artefacts.prompts.fingerprint}.log"
    assert f"log: {log}" in done.stdout and "no problem is left" in (folder / log).read_text()
    assert "no problem is left" in done.stdout  # the log itself is shown as well
