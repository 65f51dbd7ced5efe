"""The bars on the shared cases, where they are laid beside the checkout: no false accept, few false rejects, no hang, no crash.

A quick sample runs by default; every case runs in the slow suite.
"""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from sgopd.verifier import VerifierOptions, check_file, verify

CASES = Path(__file__).parents[3] / "shared" / "cases"
here = pytest.mark.skipif(
    not CASES.is_dir(), reason=f"{CASES} is not there: the shared cases are not laid beside this checkout"
)
Rows = list[dict[str, Any]]


def cases() -> Rows:
    return [json.loads(line) for line in (CASES / "verifier_cases.jsonl").open(encoding="utf-8")]


def rollouts() -> Rows:
    with gzip.open(CASES / "rollouts.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def fulfils_the_bars(rows: Rows, folder: Path) -> None:
    source = folder / "cases.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    verdicts = check_file(source, folder / "verdicts.jsonl")
    judged = [(row, v) for row, v in zip(rows, verdicts, strict=True) if row["policy"] is None]
    positives = sum(row["expected"] for row, _ in judged)
    accepted = [row["id"] for row, v in judged if v.verdict == "correct" and not row["expected"]]
    rejected = [row["id"] for row, v in judged if v.verdict != "correct" and row["expected"]]
    assert accepted == []
    assert len(rejected) <= 0.03 * positives, rejected
    assert {v.verdict for v in verdicts} <= {"correct", "incorrect", "no_answer"}
    assert max(v.seconds for v in verdicts) < 5


@here
def test_a_sample_of_the_cases_fulfils_the_bars(tmp_path: Path) -> None:
    fulfils_the_bars(cases()[::3], tmp_path)


@here
@pytest.mark.slow
def test_all_cases_fulfil_the_bars(tmp_path: Path) -> None:
    fulfils_the_bars(cases(), tmp_path)


def agreement(rows: Rows) -> float:
    judged = [row for row in rows if row["verdict"] is not None]
    options = VerifierOptions(workers=2, extract="stated")
    found = verify([r["gold"] for r in judged], [r["response"] for r in judged], options=options)
    assert {v.verdict for v in found} <= {"correct", "incorrect", "no_answer", "error"}
    return sum((v.verdict == "correct") == r["verdict"] for r, v in zip(judged, found, strict=True)) / len(judged)


@here
def test_verdicts_on_a_sample_of_real_responses_agree_with_the_stored_ones() -> None:
    assert agreement(rollouts()[::5]) >= 0.97  # docs/verifier.md lists why the stored verdict is wrong in the others


@here
@pytest.mark.slow
def test_verdicts_on_all_real_responses_agree_and_a_cache_makes_them_instant(tmp_path: Path) -> None:
    rows = rollouts()
    assert agreement(rows) >= 0.97
    columns = [r["gold"] for r in rows], [r["response"] for r in rows]
    options = VerifierOptions(workers=2, extract="stated", cache_path=tmp_path / "cache.sqlite")
    first = verify(*columns, options=options)
    started = time.perf_counter()
    again = verify(*columns, options=options)
    assert time.perf_counter() - started < 4
    assert [v.verdict for v in first] == [v.verdict for v in again]
