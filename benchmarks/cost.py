"""FLOP/s that the stages of finished runs reached: the figures behind `cpu` in sgopd.plan. python benchmarks/cost.py [RESULTS]"""

import json
import sys
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq

from sgopd.objectives import needs_reference
from sgopd.plan import SYNTHETIC_PROMPT_TOKENS
from sgopd.shapes import shape_of
from sgopd.study_files import load_study


def main(results: Path, study_file: Path) -> None:
    study = load_study(study_file)
    shape = shape_of(study.models.student)
    rates: dict[str, list[float]] = {"training": [], "scoring": [], "sampling": []}
    for folder in sorted((results / "runs").glob("*/seed*/phase3")):
        method = folder.parent.parent.name
        if method == "sft":
            continue
        training = study.runs[method]
        rows = pq.read_table(folder / "metrics.parquet").to_pylist()
        seconds = json.loads((folder / "seconds.json").read_text())
        tokens = sum(row["value"] for row in rows if row["name"] == "tokens/student")
        steps = sum(row["name"] == "tokens/student" for row in rows)
        texts = tokens + steps * training.prompts_per_step * training.group_size * SYNTHETIC_PROMPT_TOKENS
        forward = shape.forward_flops(texts, texts / (steps * training.prompts_per_step * training.group_size) / 2)
        rates["training"].append(3 * forward / seconds["update"])
        rates["scoring"].append((1 + needs_reference(training.objective.rule)) * forward / seconds["score"])
        rates["sampling"].append(shape.forward_flops(tokens, 40) / seconds["rollout"])
    for name, values in rates.items():
        spread = f"{min(values) / 1e9:.2f} to {max(values) / 1e9:.2f}"
        print(f"{name:9} {median(values) / 1e9:6.2f} GFLOP/s (median of {len(values)} runs; {spread})")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"), Path("configs/tiny.yaml"))
