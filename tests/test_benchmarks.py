"""The benchmark scripts run and count the work they time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_profile_names_every_part_of_a_step() -> None:
    table = run(str(BENCHMARKS / "profile_step.py"), "--shape", "embedded", "--steps", "1", "--threads", "1")
    for part in ("rollout", "scoring", "verification", "forward and backward", "optimiser", "bookkeeping"):
        assert f"| {part}" in table


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["sgopd, rule opd (sampled tokens)", "sgopd, reverse KL over the vocabulary"])
def test_a_timed_step_trains_on_every_token_it_generates(variant: str, tmp_path: Path) -> None:
    options = ["--shape", "embedded", "--steps", "1", "--threads", "1", "--only", variant, "--folder", str(tmp_path)]
    counted = json.loads(run(str(BENCHMARKS / "step.py"), *options).splitlines()[-1])
    assert (counted["generated"], counted["scored"], counted["updates"]) == (32 * 4 * 48, 32 * 4 * 48, 1.0)
