"""Stages killed at random moments, directly and under Snakemake, and two Snakemakes in one checkout."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.reliability import harness
from tests.reliability.conftest import STUDY

pytestmark = pytest.mark.slow


@pytest.mark.timeout(3600)
def test_fifty_kills_change_nothing_that_comes_out(tmp_path: Path) -> None:
    report = tmp_path / "kills.json"
    command = [
        sys.executable,
        "-m",
        "tests.reliability.harness",
        "--kills",
        "50",
        "--snakemake-kills",
        "3",
        "--folder",
        str(tmp_path / "x"),
        "--report",
        str(report),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=harness.REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(report.read_text())
    assert result["kills"] >= 53 and result["wrong"] == []


def test_a_second_snakemake_in_one_checkout_is_refused_and_the_first_goes_on(tmp_path: Path, database: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    first = harness.snakemake(folder)
    deadline = time.monotonic() + 120
    while not list(folder.glob(".snakemake/locks/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = harness.snakemake(folder)
    assert second.wait() != 0
    assert "lock" in folder.with_suffix(".log").read_text().lower()
    assert first.wait() == 0 and (folder / "results/report.html").is_file()
