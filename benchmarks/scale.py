"""How cost grows with the size of a study: the cache up to 10 million rollouts, and studies of up to 1,000 runs.

    python benchmarks/scale.py cache --sizes 100000 1000000 10000000 --folder /tmp/scale
    python benchmarks/scale.py plan --sizes 10 100 1000 --folder /tmp/scale
    python benchmarks/scale.py tracking --sizes 10 100 1000 --folder /tmp/scale
    python benchmarks/scale.py report --sizes 10 100 1000 --folder /tmp/scale

Each prints Markdown rows. ``cache`` sends made-up rollouts of 12 tokens through the store, the verifier's bookkeeping and the
look-up that training does; ``plan`` lets Snakemake plan a study of so many runs, and again when everything is there (the
outputs are made by hand, no stage runs); ``tracking`` logs 20 steps of 10 metrics per run; ``report`` writes the page. Every row
is measured in a process of its own, so that the peak memory is its own.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLES, SHARD_PROMPTS = 64, 64
SEEDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(PARTS))
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    if len(arguments.sizes) > 1:
        for size in arguments.sizes:
            command = [
                sys.executable,
                __file__,
                arguments.what,
                "--sizes",
                str(size),
                "--folder",
                str(arguments.folder),
            ]
            subprocess.run(command, check=True)
        return
    size = arguments.sizes[0]
    folder = arguments.folder / f"{arguments.what}{size}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.chdir(folder)
    numbers = PARTS[arguments.what](size, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {arguments.what} | {size:,} | "
        + " | ".join(f"{k} {v}" for k, v in numbers.items())
        + f" | {peak:.0f} MiB |",
        flush=True,
    )
    shutil.rmtree(folder)


class Clock(dict[str, str]):
    """Processor time by part, of this process and its children: other work on the machine does not count."""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = _processor_seconds()
        yield
        self[name] = f"{_processor_seconds() - start:.1f} s"


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def cache(size: int, folder: Path) -> dict[str, str]:
    """Rollouts -> shards -> one table -> verdicts -> V of training."""
    from sgopd.config import TeacherSampling
    from sgopd.prompts.render import Prompt
    from sgopd.records import ROLLOUTS, VERDICTS
    from sgopd.rollouts import _verdicts
    from sgopd.store import ROWS_AT_ONCE, Shards, iterate_table, write_tables
    from sgopd.study_files import load_study
    from sgopd.training.data import teacher_samples

    clock, study = Clock(), load_study(REPOSITORY / "configs/tiny.yaml")
    prompts = [f"train-{i}" for i in range(size // SAMPLES)]
    with clock.part("shards"):
        shards = Shards(folder / "shards", ROLLOUTS)
        chunks = [prompts[i : i + SHARD_PROMPTS] for i in range(0, len(prompts), SHARD_PROMPTS)]
        for index in shards.missing(len(chunks)):
            shards.write(index, [_rollout(name, i) for name in chunks[index] for i in range(SAMPLES)])
    with clock.part("table"):
        write_tables(folder / "rollouts.parquet", shards.tables(len(chunks)), ROLLOUTS)
        shards.remove()
    with clock.part("verdicts"):
        answers = {name: str(int(name[6:]) % 7) for name in prompts}
        judged = Shards(folder / "verdicts", VERDICTS)
        count = 0
        for index, part in enumerate(iterate_table(folder / "rollouts.parquet", ROLLOUTS)):
            judged.write(index, _verdicts(study, part, answers))
            count += 1
        assert count == -(-len(prompts) * SAMPLES // ROWS_AT_ONCE)
        write_tables(folder / "verdicts.parquet", judged.tables(count), VERDICTS)
        judged.remove()
    with clock.part("look-up"):
        known = [Prompt(name, [1], [1], "", "", 0.0) for name in prompts]
        parts = [
            iterate_table(folder / f"{kind}.parquet", schema)
            for kind, schema in (("rollouts", ROLLOUTS), ("verdicts", VERDICTS))
        ]
        found = teacher_samples(known, *parts, TeacherSampling(keep="first"), lambda samples: [0.0] * len(samples))
        assert len(found) == len(prompts)
    clock["file"] = f"{sum(path.stat().st_size for path in folder.glob('*.parquet')) / 2**20:.0f} MiB"
    return clock


def _rollout(name: str, i: int) -> dict[str, Any]:
    return {
        "prompt_id": name, "sample_index": i, "response_ids": list(range(i, i + 12)), "logprobs": [-0.25] * 12,
        "finish_reason": "stop", "text": f"so it is \\boxed{{{i % 7}}}",
    }  # fmt: skip


def _study(runs: int) -> dict[str, Any]:
    study: dict[str, Any] = yaml.safe_load((REPOSITORY / "configs/tiny.yaml").read_text())
    study["seeds"] = list(range(SEEDS))
    study["methods"] = {"opd": {}} | {f"m{i}": {"hold": i / 10_000} for i in range(1, runs // SEEDS)}
    return study


def plan(size: int, folder: Path) -> dict[str, str]:
    """Snakemake's dry run of a fresh study, and of one that is finished."""
    from sgopd.artefacts import PHASES, Artefacts
    from sgopd.study_files import load_study

    (folder / "study.yaml").write_text(yaml.safe_dump(_study(size)))
    command = [
        sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--snakefile", str(REPOSITORY / "workflow/Snakefile"),
        "--workflow-profile", str(REPOSITORY / "workflow/profiles/default"), "--cores", "1", "--config", "study=study.yaml",
    ]  # fmt: skip
    clock = Clock()
    with clock.part("study read"):
        artefacts = Artefacts(load_study(Path("study.yaml")))
        _ = artefacts.comparison
    with clock.part("plan"):
        subprocess.run(command, check=True, capture_output=True)
    made = [
        artefacts.model("teacher"),
        artefacts.model("student"),
        artefacts.prompts,
        artefacts.rollouts,
        artefacts.verdicts,
    ]
    made += [artefacts.phase(m, s, p) for m in artefacts.study.methods for s in artefacts.study.seeds for p in PHASES]
    made += [artefacts.evaluation(method, seed) for method, seed in artefacts.evaluated()]
    paths = [artefact.manifest for artefact in made]
    paths += [
        artefacts.results / name
        for name in ("tables/manifest.json", "tables/main.md", "tables/main.csv", "tables/main.tex")
    ]
    paths += [artefacts.results / "report.html", artefacts.results / "checksums/manifest.json"]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    with clock.part("no-op"):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    clock["jobs"] = f"{len(paths) - 3:,}"
    assert "Nothing to be done" in done.stdout + done.stderr, done.stdout + done.stderr
    return clock


def tracking(size: int, folder: Path) -> dict[str, str]:
    """All runs of a study logged one after the other, and what the UI asks for its first page and one curve."""
    from mlflow import MlflowClient

    from sgopd import tracking as tracked

    clock = Clock()
    with clock.part("log"):
        for i in range(size):
            name = f"m{i // SEEDS}"
            with tracked.run(
                "scale", name, i % SEEDS, fingerprint="f", phase="evaluation", params={"hold": i}, tags={}
            ) as run:
                for step in range(20):
                    run.log(step, {f"metric{j}": step / (j + 1) for j in range(10)})
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("scale").experiment_id  # type: ignore[union-attr]
    with clock.part("first page"):
        page = client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=100)
    with clock.part("curve"):
        client.get_metric_history(page[0].info.run_id, "metric0")
    clock["database"] = f"{(folder / 'mlflow.db').stat().st_size / 2**20:.1f} MiB"
    return clock


def report(size: int, folder: Path) -> dict[str, str]:
    """The page of a study with so many runs on 250 problems."""
    import numpy as np
    import pandas as pd

    from sgopd.reporting import tables
    from sgopd.reporting.report import ReportInputs, write_report

    methods = [f"m{i}" for i in range(size // SEEDS)]
    metric: dict[str, Any] = {"avg@8": 0.4, "avg@8_low": 0.3, "avg@8_high": 0.5, "avg@8_diff": 0.1, "avg@8_diff_low": 0.0,
                              "avg@8_diff_high": 0.2, "avg@8_p": 0.5, "avg@8_p_holm": 0.5}  # fmt: skip
    shared = {
        "seeds": SEEDS,
        "truncated": 0.0,
        "n_tokens": 40.0,
        "problems": 250,
        "samples": 8,
        "student_tokens": 1e5,
        "teacher_tokens": 1e5,
    }
    numbers = pd.DataFrame([{"method": method} | metric | shared for method in methods])
    runs = pd.DataFrame([(method, seed) for method in methods for seed in range(SEEDS)], columns=["method", "seed"])
    problems = runs.merge(pd.DataFrame({"prompt_id": [f"chain-{i}" for i in range(250)]}), how="cross").assign(avg=0.5)
    tokens = 45
    rollouts = runs.loc[runs.index.repeat(48)].assign(
        step=0, prompt_id="chain-1", rollout_index=0, verdict="correct", reward=1.0, group_advantage=1.0,
        tokens=[["7"] * tokens] * (48 * size), gate=[np.ones(tokens, np.int8)] * (48 * size),
        **{name: [np.zeros(tokens, np.float32)] * (48 * size) for name in ("delta", "log_ratio_ref", "advantage")},
    )  # fmt: skip
    clock = Clock()
    with clock.part("write"):
        write_report(
            ReportInputs(
                "scale", "m0", ["avg@8"], numbers,
                pd.DataFrame({"method": methods, "benchmark": "chain", "value": 0.4, "low": 0.3, "high": 0.5}), problems,
                runs.assign(part="update", seconds=3.0), tables.settings_table({"hold": dict.fromkeys(methods, 0.1)}),
                rollouts, {}, {},
            ),
            folder / "report.html",
        )  # fmt: skip
    clock["page"] = f"{(folder / 'report.html').stat().st_size / 2**20:.1f} MiB"
    return clock


PARTS = {"cache": cache, "plan": plan, "tracking": tracking, "report": report}

if __name__ == "__main__":
    main()
