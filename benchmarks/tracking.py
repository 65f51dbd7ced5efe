"""What logging costs: time spent in tracking while the embedded study's `sgopd` trains, as a share of its steps.

    python benchmarks/tracking.py [--clock cpu] [--uri URI] [--folder CHECKOUT] [--repeats 3]

Needs the caches of configs/tiny.yaml in CHECKOUT/data (`make demo`). Prints a table: what a step and its logging take (median over
the steps of all repeats, and the sum), and what each job spends once: opening the run with its first request, linking, closing.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from sgopd import tracking
from sgopd.study_files import load_study
from sgopd.training.distil import distil
from sgopd.training.learner import Learner

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
ONCE = ("_append", "dataset", "model", "close")  # the first _append is the one that opens the run
METHOD, SEED = "sgopd", 0


class Timer:
    """Seconds of every call of the methods that it wraps; calls within a wrapped call belong to the outer one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.inside = clock, False
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def wrap(self, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            if self.inside:
                return original(*args, **options)
            start, self.inside = self.clock(), owner is tracking.Run
            try:
                return original(*args, **options)
            finally:
                self.inside = False
                self.seconds[f"{owner.__name__}.{name}"].append(self.clock() - start)

        setattr(owner, name, timed)


def train(checkout: Path, uri: str | None) -> None:
    """All three phases in a fresh folder."""
    study = load_study(checkout / "configs/tiny.yaml", "")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("data").symlink_to(checkout / "data")
        os.environ["MLFLOW_TRACKING_URI"] = uri or f"sqlite:///{folder}/mlflow.db"
        for phase in (1, 2, 3):
            distil(study, METHOD, SEED, phase)
        os.chdir(checkout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--uri", help="a tracking server; an SQLite file without it")
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    timer = Timer(CLOCKS[arguments.clock])
    timer.wrap(Learner, "step")
    for name in ("log", *ONCE):
        timer.wrap(tracking.Run, name)
    for _ in range(arguments.repeats):
        train(arguments.folder.resolve(), arguments.uri)
    steps, logs = timer.seconds["Learner.step"], timer.seconds["Run.log"]
    jobs = len(timer.seconds["Run.close"])
    once = sum(sum(timer.seconds[f"Run.{name}"]) for name in ONCE)
    print(f"| {arguments.clock} seconds | median | sum | share of the steps |\n|---|---|---|---|")
    print(f"| a step ({len(steps)}) | {median(steps):.3f} | {sum(steps):.1f} | |")
    share = f"{100 * median(logs) / median(steps):.3f} %, of the sum {100 * sum(logs) / sum(steps):.2f} %"
    print(f"| its logging ({len(logs)} calls) | {median(logs):.6f} | {sum(logs):.3f} | {share} |")
    print(f"| once per job ({jobs}) | {once / jobs:.2f} (mean) | {once:.1f} | {100 * once / sum(steps):.1f} % |")


if __name__ == "__main__":
    main()
