"""The verifier on labelled cases and real responses, beside math-verify called naively: errors, speed, slowest item.

    python benchmarks/verifier.py CASES.jsonl ROLLOUTS.jsonl.gz        # prints the tables of docs/verifier.md

Cases: id, gold, response, expected, policy (null where the expected verdict is beyond doubt). Rollouts: id, gold, response,
verdict (of another grader, or null). math-verify runs in one process, which is killed after 5 s, and on a sample of the rollouts.
"""

import argparse
import gzip
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sgopd.verifier import VerifierOptions, check_file, verify

Rows = list[dict[str, Any]]
LIMIT_S = 5
SAMPLE = 10  # every tenth rollout goes to math-verify


def read(path: Path) -> Rows:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def serve(pipe: Connection) -> None:
    """math-verify in a process of its own: gold and response in, its verdict out, None where it raises."""
    from math_verify import parse
    from math_verify import verify as math_verify

    pipe.send("ready")
    while True:
        gold, response = pipe.recv()
        gold = gold if "$" in gold or "boxed" in gold else f"${gold}$"
        try:
            equal = math_verify(
                parse(gold, parsing_timeout=None), parse(response, parsing_timeout=None), timeout_seconds=None
            )
            pipe.send(bool(equal))
        except Exception:
            pipe.send(None)


def naive(rows: Rows) -> tuple[list[bool | None], list[float]]:
    """math-verify's verdict and seconds for each row; None where it was killed after ``LIMIT_S`` or raised."""
    found: list[bool | None] = []
    seconds: list[float] = []
    process = None
    for row in rows:
        if process is None:
            pipe, other = multiprocessing.Pipe()
            process = multiprocessing.Process(target=serve, args=(other,), daemon=True)
            process.start()
            pipe.recv()
        bare = row.get("kind") == "pair" and r"\boxed" not in row["response"]
        started = time.perf_counter()
        pipe.send((row["gold"], rf"\boxed{{{row['response']}}}" if bare else row["response"]))
        if pipe.poll(LIMIT_S):
            found.append(pipe.recv())
        else:
            process.kill()
            process = None
            found.append(None)
        seconds.append(time.perf_counter() - started)
    return found, seconds


def ours(path: Path, workers: int) -> tuple[list[bool | None], list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        verdicts = check_file(path, Path(folder) / "out.jsonl", VerifierOptions(workers=workers, extract="stated"))
    hung = ("timeout", "error")
    return [None if v.verdict in hung else v.verdict == "correct" for v in verdicts], [v.seconds for v in verdicts]


def cases_table(rows: Rows, graders: dict[str, Callable[[], tuple[list[bool | None], list[float]]]]) -> None:
    print(
        "| grader | false accepts | false rejects | cut off or failed | slowest item, s | disagreements where a policy decides |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    clear = [row["policy"] is None for row in rows]
    negatives = sum(c and not row["expected"] for c, row in zip(clear, rows, strict=True))
    positives = sum(c and row["expected"] for c, row in zip(clear, rows, strict=True))
    for name, grade in graders.items():
        found, seconds = grade()
        triples = list(zip(rows, clear, found, strict=True))
        accepts = sum(c and not row["expected"] and f is True for row, c, f in triples)
        rejects = sum(c and row["expected"] and f is not True for row, c, f in triples)
        policy = [row["id"] for row, c, f in triples if not c and (f is True) != row["expected"]]
        share = f"{accepts} of {negatives} ({accepts / negatives:.1%}) | {rejects} of {positives} ({rejects / positives:.1%})"
        print(
            f"| {name} | {share} | {found.count(None)} | {max(seconds):.2f} | {len(policy)} of {clear.count(False)} |"
        )
        if name == "sgopd":
            remaining = policy
    print(f"\nsgopd's remaining disagreements: {', '.join(remaining)}\n")


def rollouts_table(rows: Rows, workers: int) -> None:
    columns = [row["gold"] for row in rows], [row["response"] for row in rows]
    verify(
        ["x+1"], [r"\boxed{1+x}"], options=VerifierOptions(workers=workers)
    )  # the interpreter's imports are not counted
    print("| rollouts | responses/s | slowest item, s | verdicts |")
    print("|---|---:|---:|---|")
    for how in ("boxed", "stated"):
        with tempfile.TemporaryDirectory() as folder:
            options = VerifierOptions(workers=workers, extract=how, cache_path=Path(folder) / "cache.sqlite")  # type: ignore[arg-type]
            for state in ("cold", "cached"):
                started = time.perf_counter()
                verdicts = verify(*columns, options=options)
                rate = len(rows) / (time.perf_counter() - started)
                counts = ", ".join(f"{n} {name}" for name, n in Counter(v.verdict for v in verdicts).most_common())
                slowest = max(v.seconds for v in verdicts)
                print(f"| sgopd, {how}, {state}, {workers} workers | {rate:,.0f} | {slowest:.2f} | {counts} |")
    found, seconds = naive(rows[::SAMPLE])
    print(f"| math-verify, every {SAMPLE}th, 1 process | {len(found) / sum(seconds):,.0f} | {max(seconds):.2f} | |")
    judged = [(row, v) for row, v in zip(rows, verdicts, strict=True) if row["verdict"] is not None]
    apart = [row["id"] for row, v in judged if (v.verdict == "correct") != row["verdict"]]
    print(
        f"\nagrees with the stored verdict in {1 - len(apart) / len(judged):.2%} of {len(judged)}; apart: {', '.join(apart)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("rollouts", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    cases = read(arguments.cases)
    cases_table(
        cases, {"sgopd": lambda: ours(arguments.cases, arguments.workers), "math-verify, naive": lambda: naive(cases)}
    )
    rollouts_table(read(arguments.rollouts), arguments.workers)


if __name__ == "__main__":
    main()
