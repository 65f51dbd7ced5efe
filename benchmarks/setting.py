"""Is a setting fit for comparing methods? Looks at validation problems only, never at a benchmark.

    python benchmarks/setting.py --study configs/tiny.yaml

Prints avg@8 of teacher and untrained student on the validation problems, in all and per category, and, for every finished run
of the study, its last validation accuracy, the gate's conflict share and its wall-clock seconds.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq

from sgopd.artefacts import PHASES, Artefacts
from sgopd.engines.torch_engine import TorchEngine
from sgopd.pair import Pair, load_pair
from sgopd.prompts.render import read_prompts
from sgopd.store import stream_seed
from sgopd.study_files import load_study
from sgopd.verifier import verify

SAMPLES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("configs/tiny.yaml"))
    parser.add_argument("--point", default="")
    arguments = parser.parse_args()
    artefacts = Artefacts(load_study(arguments.study, arguments.point))
    pair = load_pair(artefacts, weights=None, teacher=True, reference=False)
    student = TorchEngine(pair.student, pair.eos_id, pair.pad_id)
    for name, engine in (("teacher", pair.teacher_engine), ("untrained student", student)):
        print(f"{name}: avg@{SAMPLES} {_shown(accuracy(artefacts, pair, engine))}")
    for method in artefacts.study.methods:
        for seed in artefacts.study.seeds:
            if artefacts.phase(method, seed, 3).manifest.is_file():
                print(f"{method} seed {seed}: {_shown(run_summary(artefacts, method, seed))}")


def accuracy(artefacts: Artefacts, pair: Pair, engine: TorchEngine) -> dict[str, float]:
    """avg@8 on the validation problems, in all and per category."""
    prompts = [p for p in read_prompts(artefacts, "validation", pair) for _ in range(SAMPLES)]
    seeds = [stream_seed("setting", i) for i in range(len(prompts))]
    rollouts = engine.sample([p.token_ids for p in prompts], artefacts.study.evaluation.sampling, seeds)
    texts = pair.tokenizer.batch_decode([r.token_ids for r in rollouts], skip_special_tokens=True)
    right = [verdict.verdict == "correct" for verdict in verify([p.answer for p in prompts], texts)]
    by_category = defaultdict(list)
    for prompt, one in zip(prompts, right, strict=True):
        by_category["all"].append(one)
        by_category[prompt.category].append(one)
    return {name: sum(found) / len(found) for name, found in sorted(by_category.items())}


def run_summary(artefacts: Artefacts, method: str, seed: int) -> dict[str, float]:
    """Last validation accuracies, mean conflict share of gated tokens, seconds of all phases."""
    last: dict[str, float] = {}
    agreement, seconds = [], 0.0
    for phase in PHASES:
        folder = artefacts.phase(method, seed, phase).folder
        seconds += sum(json.loads((folder / "seconds.json").read_text()).values())
        for row in pq.read_table(folder / "metrics.parquet").to_pylist():
            if row["name"].startswith("validation/"):
                last[row["name"].removeprefix("validation/accuracy").lstrip("/") or "all"] = row["value"]
            elif row["name"] == "gate/agreement":
                agreement.append(row["value"])
    if agreement:
        last["conflict"] = 1 - sum(agreement) / len(agreement)
    return last | {"seconds": seconds}


def _shown(numbers: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" if value < 10 else f"{name} {value:.0f}" for name, value in numbers.items())


if __name__ == "__main__":
    main()
