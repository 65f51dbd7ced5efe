"""Kills stages of a shrunk study at random moments and compares what comes out with an undisturbed run.

    python -m tests.reliability.harness --kills 200 --snakemake-kills 3 --folder /tmp/kill --report kill.json

Half of the moments are drawn over a stage's time, half over the bytes that it writes, so that many fall into a write. A stage is a
forked process of this one, in which everything is imported: real signals, real files, without seconds of imports per stage.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.reliability.conftest import STAGES, STUDY

REPOSITORY = Path(__file__).resolve().parents[2]
MEASURED = {"cost.csv", "cost.md", "seconds.json", "manifest.json", "report.html"}  # hold times, or checksums of times
KILLS_PER_STAGE = 6


def preload() -> None:
    """Import what stages import, and start no thread."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, Qwen3ForCausalLM  # noqa: F401

    import sgopd.cli
    import sgopd.evaluation.evaluate
    import sgopd.prompts.stage
    import sgopd.reporting.stage
    import sgopd.training.distil  # noqa: F401

    torch.set_num_threads(1)


@dataclass
class Size:
    """How long a stage takes (seconds) and how much it writes (bytes), as last seen."""

    seconds: float = 1.0
    written: int = 1
    shards: int = 0


@dataclass
class Checkout:
    """A folder in which the study is run, and what was done to it."""

    folder: Path
    sizes: dict[str, Size]
    kills: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def start(self, stage: list[str]) -> int:
        """The stage as a process of its own; returns its id."""
        self.log.write_text("")  # not the last stage's, if this one is killed before its first word
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            with self.log.open("a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.chdir(self.folder)
            os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.folder}/mlflow.db"
            sys.argv = ["sgopd", *stage, *([] if stage == ["sync"] else ["--study", "study.yaml"])]
            from sgopd import cli

            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def run(self, stage: list[str], draw: random.Random | None = None) -> bool:
        """Run a stage, killed at a moment drawn from ``draw`` if it is given; whether it came to its end."""
        name = " ".join(stage)
        size = self.sizes.setdefault(name, Size())
        by_bytes = draw is not None and draw.random() < 0.5
        share = draw.uniform(0, 1) if draw else 2.0
        begin, pid, written = time.monotonic(), self.start(stage), 0
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            with contextlib.suppress(OSError, ValueError):
                written = int(re.search(r"wchar: (\d+)", Path(f"/proc/{pid}/io").read_text())[1])  # type: ignore[index]
            reached = written >= share * size.written if by_bytes else time.monotonic() - begin >= share * size.seconds
            if draw and reached:
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                if os.WIFSIGNALED(status):
                    self.kills.append(f"{name} at {100 * share:.0f} % of its {'bytes' if by_bytes else 'time'}")
                    return False
                break
            time.sleep(0.001)
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{name}: exit code {os.waitstatus_to_exitcode(status)}\n{self.log.read_text()}")
        if draw is None:
            shards = re.search(r"shards \d+/(\d+)", self.log.read_text())
            self.sizes[name] = Size(
                time.monotonic() - begin, written, max(size.shards, int(shards[1]) if shards else 0)
            )
        return True

    def kept(self) -> tuple[int, int]:
        """Whole shards and the step of the newest whole checkpoint that lie in unfinished artefacts."""
        shards = [path for path in self.folder.rglob("*.partial/**/*-*.parquet") if not path.name.startswith(".")]
        steps = [
            int(path.parent.name.removeprefix("step")) for path in self.folder.rglob("*.partial/step*/manifest.json")
        ]
        return len(shards), max(steps, default=0)

    def run_killing(self, stage: list[str], draw: random.Random, most: int) -> None:
        """Run a stage to its end through up to ``most`` kills, and note work that was done twice."""
        for attempt in range(most + 1):
            shards, step = self.kept()
            finished = self.run(stage, draw if attempt < most and draw.random() > 0.25 else None)
            text = self.log.read_text()
            total = re.search(r"shards \d+/(\d+)", text)
            if total and int(total[1]) != self.sizes[" ".join(stage)].shards - shards:
                self.repeated.append(f"{stage}: {shards} shards were there, {total[1]} were made")
            begun = re.search(r"goes on from step (\d+)", text)
            if (begun and int(begun[1]) != step) or (finished and step and not begun and "is complete" not in text):
                self.repeated.append(f"{stage}: began at step {begun and begun[1]}, not {step}")
            if finished:
                return


def fresh(folder: Path, name: str, sizes: dict[str, Size], database: Path) -> Checkout:
    checkout = folder / name
    shutil.rmtree(checkout, ignore_errors=True)
    checkout.mkdir(parents=True)
    (checkout / "study.yaml").write_text(yaml.safe_dump(STUDY))
    shutil.copyfile(database, checkout / "mlflow.db")
    return Checkout(checkout, sizes)


def files(folder: Path) -> dict[str, bytes | None]:
    """Path -> content, None where times are in it; everything but logs and what MLflow and Snakemake keep for themselves."""
    found: dict[str, bytes | None] = {}
    own = ("mlflow.db", "mlruns", "mlartifacts", ".snakemake", "mlflow-spool/.lock")
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith(own) and "/logs/" not in name:
            found[name] = None if path.name in MEASURED else path.read_bytes()
    return found


def tracked(folder: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str, int, float]]]:
    """(run, status) and (run, metric, step, value) of the MLflow database, sorted; a double shows as a second row."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        runs = database.execute("SELECT name, status FROM runs").fetchall()
        points = database.execute(
            "SELECT r.name, m.key, m.step, m.value FROM metrics m JOIN runs r USING (run_uuid)"
        ).fetchall()
    return sorted(runs), sorted(points)


def differences(folder: Path, reference: Path) -> Iterator[str]:
    """What a disturbed checkout has otherwise than the reference."""
    ours, theirs = files(folder), files(reference)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs:
            yield f"orphan: {name}"
        elif name not in ours:
            yield f"missing: {name}"
        elif ours[name] != theirs[name]:
            yield f"other bytes: {name}"
    for kind, a, b in zip(("runs", "metrics"), tracked(folder), tracked(reference), strict=True):
        if a != b:
            yield f"MLflow {kind}: {sorted(set(a) ^ set(b))[:5]}, {len(a)} against {len(b)}"


def snakemake(folder: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "workflow/Snakefile"), "--workflow-profile",
        str(REPOSITORY / "workflow/profiles/default"), "--directory", str(folder), "--cores", "2", "--config", "study=study.yaml",
    ]  # fmt: skip
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def kill_under_snakemake(checkout: Checkout, kills: int, draw: random.Random) -> None:
    """Run the study through Snakemake, again and again, each time killing one stage at a random moment; then to the end."""
    import psutil

    for _ in range(kills + 3):
        process = snakemake(checkout.folder)
        delay = draw.uniform(0, 6)
        while len(checkout.kills) < kills and process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                stages = [
                    p
                    for p in psutil.Process(process.pid).children(recursive=True)
                    if "sgopd" in " ".join(p.cmdline()[1:2])
                ]
                if stages and time.time() - stages[0].create_time() > delay:
                    checkout.kills.append("snakemake: " + " ".join(stages[0].cmdline()[2:6]))
                    stages[0].kill()
                    break
            time.sleep(0.05)
        if process.wait() == 0:
            return
    raise SystemExit(checkout.log.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--snakemake-kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="start no further study after so long")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    from mlflow import MlflowClient

    options.folder.mkdir(parents=True, exist_ok=True)
    database = options.folder / "empty.db"
    database.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-c", f"from mlflow import {MlflowClient.__name__}; "
                    f"MlflowClient('sqlite:///{database}').search_experiments()"], check=True)  # fmt: skip
    preload()
    begin, draw, sizes = time.monotonic(), random.Random(options.seed), {}  # type: ignore[var-annotated]
    reference = fresh(options.folder, "reference", sizes, database)
    for stage in [*STAGES, ["sync"]]:
        reference.run(stage)
    result: dict[str, object] = {"studies": 0, "kills": 0, "wrong": [], "moments": []}
    while int(str(result["kills"])) < options.kills and time.monotonic() - begin < 60 * options.minutes:
        checkout = fresh(options.folder, f"study{result['studies']}", sizes, database)
        for stage in STAGES:
            checkout.run_killing(stage, draw, KILLS_PER_STAGE)
        checkout.run(["sync"])
        note(result, checkout, reference, begin)
        options.report.write_text(json.dumps(result, indent=1) + "\n")
    if options.snakemake_kills:
        checkout = fresh(options.folder, "snakemake", sizes, database)
        kill_under_snakemake(checkout, options.snakemake_kills, draw)
        checkout.run(["sync"])
        note(result, checkout, reference, begin)
    options.report.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(bool(result["wrong"]))


def note(result: dict[str, object], checkout: Checkout, reference: Checkout, begin: float) -> None:
    wrong = [*differences(checkout.folder, reference.folder), *checkout.repeated]
    result["studies"] = int(str(result["studies"])) + 1
    result["kills"] = int(str(result["kills"])) + len(checkout.kills)
    result["wrong"] = [*result["wrong"], *(f"{checkout.folder.name}: {w}" for w in wrong)]  # type: ignore[misc]
    result["moments"] = [*result["moments"], *checkout.kills]  # type: ignore[misc]
    result["seconds"] = round(time.monotonic() - begin)
    print({key: result[key] for key in ("studies", "kills", "seconds", "wrong")}, flush=True)
    if not wrong:
        shutil.rmtree(checkout.folder)


if __name__ == "__main__":
    main()
