"""What logging costs: seconds spent in tracking while the embedded study's `sgopd` trains, as a share of its steps.

    python benchmarks/tracking.py [SQLite URI or server]

Needs the caches of configs/tiny.yaml (`make demo`). Prints a table: per step, and once per job (finding the run, sending the rest).
"""

import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from sgopd import tracking
from sgopd.study_files import load_study
from sgopd.training.distil import distil

spent: dict[str, float] = defaultdict(float)
calls: dict[str, int] = defaultdict(int)


def timed(name: str) -> None:
    """Count the seconds spent in this method of tracking.Run."""
    original = getattr(tracking.Run, name)

    def wrapper(self: Any, *args: Any) -> None:
        start = time.perf_counter()
        original(self, *args)
        spent[name] += time.perf_counter() - start
        calls[name] += 1

    setattr(tracking.Run, name, wrapper)


def main() -> None:
    study = load_study(Path("configs/tiny.yaml"), "")
    checkout = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("data").symlink_to(checkout / "data")
        os.environ["MLFLOW_TRACKING_URI"] = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/mlflow.db"
        for name in ("log", "dataset", "model", "close"):
            timed(name)
        start = time.perf_counter()
        for phase in (1, 2, 3):
            distil(study, "sgopd", 0, phase)
        total = time.perf_counter() - start
        os.chdir(checkout)
        shutil.rmtree(Path(folder) / "results")
    steps = study.runs["sgopd"].steps
    print("| what | seconds | share |\n|---|---|---|")
    print(f"| {steps} steps, with everything around them | {total:.1f} | |")
    print(f"| logging the steps ({calls['log']} calls) | {spent['log']:.3f} | {100 * spent['log'] / total:.2f} % |")
    once = spent["dataset"] + spent["model"] + spent["close"]
    print(f"| once per job, {calls['close']} jobs together | {once:.1f} | {100 * once / total:.1f} % |")


if __name__ == "__main__":
    main()
