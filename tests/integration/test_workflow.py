"""The whole pipeline through a real Snakemake, on a study whose models are hardly trained."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sgopd.config import override
from sgopd.store import verify
from tests.conftest import TINY

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY = TINY | {"seeds": [0], "methods": {"sgopd": TINY["methods"]["sgopd"]}, "baseline": "sgopd"}


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Snakemake in ``folder``, with the workflow and the default profile of this repository."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "workflow/Snakefile"), "--workflow-profile",
        str(REPOSITORY / "workflow/profiles/default"), "--directory", str(folder), "--cores", "2", *arguments,
    ]  # fmt: skip
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def with_study(folder: Path, study: dict) -> tuple[str, str]:
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return "--config", "study=study.yaml"


def jobs(plan: str) -> dict[str, int]:
    """Rule -> number of jobs in the output of a dry run, and ``total``."""
    rows = [words for line in plan.splitlines() if len(words := line.split()) == 2]
    return {name: int(count) for name, count in rows if count.isdigit() and not name.endswith(":")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """A folder with the finished study."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    done = snakemake(folder, *with_study(folder, STUDY))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_study_ends_with_tables_figures_and_a_report(finished: Path) -> None:
    with (finished / "results/tables/main.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["sgopd", "teacher", "student"]
    for name in (
        "tables/main.md",
        "tables/main.tex",
        "tables/metrics.json",
        "figures/accuracy.png",
        "figures/accuracy.svg",
    ):
        assert (finished / "results" / name).stat().st_size > 0
    assert "<h1>" in (finished / "results/report.html").read_text()


def test_every_artefact_is_as_its_manifest_says_and_nothing_unfinished_is_left(finished: Path) -> None:
    manifests = list(finished.rglob("manifest.json"))
    assert (
        len(manifests) == 2 + 3 + 3 + 3 + 2
    )  # models; prompts, rollouts, verdicts; phases; evaluations; tables, report
    for manifest in manifests:
        verify(manifest.parent)
    assert not list(finished.rglob("*.partial")) and not list(finished.rglob("*.tmp"))


def test_a_finished_study_has_nothing_to_do(finished: Path) -> None:
    again = snakemake(finished, *with_study(finished, STUDY))
    assert again.returncode == 0 and "Nothing to be done" in again.stderr


def test_a_change_runs_again_exactly_what_depends_on_it(finished: Path) -> None:
    changed = override(STUDY, {"methods": {"sgopd": {"optimiser": {"lr": 2e-3}}}})
    plan = snakemake(finished, "-n", *with_study(finished, changed)).stdout
    assert jobs(plan) == {"all": 1, "distil": 3, "evaluate": 1, "compare": 1, "report": 1, "total": 7}


def test_the_reference_rows_wait_for_both_models(tmp_path: Path) -> None:
    target = "results/evaluations/student/seed0/manifest.json"
    plan = snakemake(tmp_path, target, "-n", *with_study(tmp_path, STUDY)).stdout
    assert jobs(plan) == {"model": 2, "prompts": 1, "evaluate": 1, "total": 4}


def test_another_study_shares_the_caches(finished: Path) -> None:
    (finished / "other.yaml").write_text(yaml.safe_dump({**STUDY, "results": "elsewhere", "name": "other"}))
    plan = snakemake(finished, "-n", "--config", "study=other.yaml").stdout
    assert "distil" in plan and not any(rule in plan for rule in ("model ", "prompts ", "rollouts ", "verdicts "))


def test_a_bad_study_is_refused_before_anything_is_planned(tmp_path: Path) -> None:
    found = snakemake(tmp_path, "-n", *with_study(tmp_path, override(STUDY, {"training": {"stepz": 3}})))
    assert found.returncode == 2
    assert "study.yaml: training.stepz: unknown key; did you mean 'steps'?" in found.stderr
    assert not (tmp_path / "data").exists() and not (tmp_path / "results").exists()
