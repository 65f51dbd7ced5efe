"""Caches that travel: pushed to an S3 server, pulled into a fresh clone, damaged, found out and repaired."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sgopd.artefacts import Artefacts
from sgopd.config import override
from sgopd.study_files import load_study
from tests.integration.conftest import ROOT, Bucket, environment, make_checkout, snakemake

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
BOTH = ("avg@2", "pass@2", "avg@3", "pass@3")  # metrics of the two commits
CACHE_STAGES = ("model", "prompts", "rollouts", "verdicts")


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = environment(DVC_NO_ANALYTICS="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@example.org",
                      GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@example.org")  # fmt: skip
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)


def done(folder: Path, *words: str) -> str:
    """The command's output; it must succeed."""
    result = command(folder, *words)
    assert result.returncode == 0, f"{' '.join(words)}: {result.stdout}{result.stderr}"
    return result.stdout


def dvc(folder: Path, *words: str) -> str:
    return done(folder, sys.executable, "-m", "dvc", *words)


def sgopd(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return command(folder, sys.executable, "-m", "sgopd", *words)


def planned(folder: Path) -> set[str]:
    """Names of the rules that `snakemake -n` wants to run."""
    text = snakemake(folder, "-n").stdout
    return {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith(("rule ", "localrule "))}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, made: Path, database: Path, bucket: Bucket) -> Path:
    """A git repository whose caches were made there and pushed to the S3 server."""
    folder = make_checkout(tmp_path_factory.mktemp("origin"), database)
    shutil.copytree(made / "data", folder / "data")
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    done(folder, "git", "init", "--quiet")
    dvc(folder, "init", "--quiet")
    settings = bucket.settings()
    dvc(folder, "remote", "add", "--default", "store", settings.pop("url"))
    for key, value in settings.items():
        dvc(folder, "remote", "modify", "store", key, value)
    dvc(folder, "add", "--quiet", "data")
    dvc(folder, "push", "--quiet")
    done(folder, "git", "add", "--all")
    done(folder, "git", "commit", "--quiet", "--message", "caches")
    return folder


@pytest.fixture
def clone(pushed: Path, tmp_path: Path) -> Path:
    """A fresh clone elsewhere, with what `dvc pull` brought."""
    done(tmp_path, "git", "clone", "--quiet", str(pushed), "clone")
    dvc(tmp_path / "clone", "pull", "--quiet")
    return tmp_path / "clone"


def change(folder: Path, **changes: object) -> None:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(override(yaml.safe_load(path.read_text()), changes)))


def test_after_a_pull_nothing_of_the_teacher_stage_runs_unless_its_sampling_changes(clone: Path) -> None:
    assert planned(clone) & {*CACHE_STAGES, "distil"} == {"distil"}
    change(clone, methods={"sgopd": {"objective": {"options": {"lambda_consensus": 1.5}}}})
    assert planned(clone) & {*CACHE_STAGES, "distil"} == {"distil"}
    change(clone, rollouts={"sampling": {"temperature": 0.7}})
    assert planned(clone) & {*CACHE_STAGES, "distil"} == {"rollouts", "verdicts", "distil"}


def test_damaged_and_half_pulled_caches_are_named_and_pulled_again_or_cleared_by_one_command(clone: Path) -> None:
    artefacts = Artefacts(load_study(clone / "study.yaml"))
    rollouts, model = clone / artefacts.rollouts.folder, clone / artefacts.model("teacher").folder
    whole = {path: path.read_bytes() for path in (rollouts / "rollouts.parquet", model / "model.safetensors")}
    flipped = bytearray(whole[rollouts / "rollouts.parquet"])
    flipped[100] ^= 1
    (rollouts / "rollouts.parquet").unlink()
    (rollouts / "rollouts.parquet").write_bytes(flipped)
    (model / "manifest.json").unlink()
    (model / "model.safetensors").unlink()
    own = clone / "data" / "rollouts" / ("0" * 16)
    lost = clone / "data" / "verdicts" / ("0" * 16)
    for folder in (own, lost):  # made here since the last `dvc add`
        shutil.copytree(clone / artefacts.verdicts.folder, folder)
    (lost / "verdicts.parquet").write_bytes(b"")

    found = sgopd(clone, "verify-store")
    assert found.returncode == 2 and "rollouts.parquet: its checksum" in found.stderr
    assert f"{artefacts.model('teacher').folder}/manifest.json: missing" in found.stderr
    refused = sgopd(clone, "verdicts", "--study", "study.yaml", "--out", "elsewhere")
    assert refused.returncode == 2 and "sgopd verify-store --repair" in refused.stderr

    repaired = sgopd(clone, "verify-store", "--repair")
    assert repaired.returncode == 0 and repaired.stdout.count("-> pulled from the DVC remote") == 2
    assert {path: path.read_bytes() for path in whole} == whole
    assert "-> removed: the DVC remote does not have it" in repaired.stdout and not lost.exists()
    assert sgopd(clone, "verify-store").returncode == 0 and own.is_dir()


def test_metrics_and_curves_of_two_commits_are_shown_side_by_side(tmp_path: Path) -> None:
    for name in (".gitignore", "dvc.yaml", "data.dvc"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tmp_path / name)
    done(tmp_path, "git", "init", "--quiet")
    dvc(tmp_path, "init", "--quiet")
    tables = tmp_path / "results" / "tables"
    tables.mkdir(parents=True)
    for accuracy in (0.25, 0.5):
        (tables / "metrics.json").write_text(json.dumps({"sgopd": {"avg@8": accuracy}}))
        methods = [column for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"][0].values()
                   for column in plot["y"]["results/tables/curves.csv"]]  # fmt: skip
        rows = [["step", *methods], *([str(step), *[str(accuracy * step)] * len(methods)] for step in range(3))]
        (tables / "curves.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
        done(tmp_path, "git", "add", "--all")
        done(tmp_path, "git", "commit", "--quiet", "--message", f"accuracy {accuracy}")
    [difference] = json.loads(dvc(tmp_path, "metrics", "diff", "--json", "HEAD~1")).values()
    assert difference == {"sgopd.avg@8": {"old": 0.25, "new": 0.5, "diff": 0.25}}
    dvc(tmp_path, "plots", "diff", "HEAD~1", "--out", "plots")
    page = (tmp_path / "plots" / "index.html").read_text()
    assert "validation avg@k" in page and "HEAD~1" in page and '"sgopd"' in page


@pytest.mark.slow
def test_what_a_changed_study_does_to_tables_that_dvc_rebuilt_is_shown_by_the_diffs_of_two_commits(clone: Path) -> None:
    study, stage = yaml.safe_load((clone / "study.yaml").read_text()), yaml.safe_load((ROOT / "dvc.yaml").read_text())
    study |= {"seeds": [0], "methods": {"opd": {}}}
    stage["plots"][0]["validation accuracy"]["y"]["results/tables/curves.csv"] = ["opd"]
    (clone / "dvc.yaml").write_text(yaml.safe_dump(stage))
    shutil.copytree(ROOT / "src" / "sgopd", clone / "src" / "sgopd", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "configs").mkdir()
    more = {"training": {"validate_every": 3}, "evaluation": {"samples": 3, "pass_k": [3]}}
    for changed in (study, override(study, more)):
        (clone / "configs" / "tiny.yaml").write_text(yaml.safe_dump(changed))
        dvc(clone, "repro")
        done(clone, "git", "add", "--all")
        done(clone, "git", "commit", "--quiet", "--message", f"{changed['evaluation']['samples']} samples")
    [difference] = json.loads(dvc(clone, "metrics", "diff", "--json", "HEAD~1")).values()
    assert set(difference) == {f"{m}.{name}" for m in ("opd", "teacher", "student") for name in BOTH}
    new = json.loads((clone / "results" / "tables" / "metrics.json").read_text())
    assert difference["opd.avg@3"]["new"] == new["opd"]["avg@3"] and difference["opd.avg@2"]["new"] is None
    dvc(clone, "plots", "diff", "HEAD~1", "--out", "plots")
    points = re.findall(r'"step": "(\d+)"[^}]*"rev": "([^"]+)"', (clone / "plots" / "index.html").read_text())
    assert {int(step) for step, revision in points if revision == "HEAD~1"} == {0, 2, 4, 6}
    assert {int(step) for step, revision in points if revision == "workspace"} == {0, 3, 6}
    assert "up to date" in dvc(clone, "repro")  # the caches are untouched, nothing runs again
