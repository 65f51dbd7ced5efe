"""Where the time of a distillation step goes: rollout, scoring, verification, forward and backward, bookkeeping.

    python benchmarks/profile_step.py --embedded FOLDER     # FOLDER: a checkout in which configs/tiny.yaml was run
    python benchmarks/profile_step.py --shape Qwen3-0.6B

Prints a Markdown table. The parts are the learner's own clocks; the split by operation comes from torch.profiler. The last column
does the same matrix products again, and nothing else: no implementation of the same step on the same library takes less.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import random_models
import torch
from torch.profiler import ProfilerActivity, profile

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PARTS = {  # the learner's clocks
    "rollout": "rollout",
    "score": "scoring (teacher, reference)",
    "verify": "verification",
    "update": "forward and backward",
}
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "dot_product", "flash_attention")


def seconds_by_part(learner: Any, steps: int, clock: str) -> dict[str, list[float]]:
    """Part -> seconds of each step; the first step is a warm-up."""
    from sgopd.training import learner as module

    module.time = SimpleNamespace(perf_counter=CLOCKS[clock])  # the learner's own clocks

    clipped_step, spent = module.clipped_step, {"optimiser": 0.0}

    def timed_step(*arguments: Any) -> float:
        start = CLOCKS[clock]()
        norm = clipped_step(*arguments)
        spent["optimiser"] += CLOCKS[clock]() - start
        return norm

    module.clipped_step = timed_step
    found: dict[str, list[float]] = {}
    for step in range(steps + 1):
        learner.seconds.clear()
        spent["optimiser"] = 0.0
        start = CLOCKS[clock]()
        learner.step(step)
        whole = CLOCKS[clock]() - start
        parts = {part: learner.seconds[name] for name, part in PARTS.items()} | {"optimiser": spent["optimiser"]}
        parts[PARTS["update"]] -= spent["optimiser"]
        parts["bookkeeping (advantages, batches, metrics)"] = whole - sum(parts.values())
        for name, value in parts.items():
            if step:
                found.setdefault(name, []).append(value)
    module.clipped_step = clipped_step
    return found


def seconds_by_operation(learner: Any, step: int, clock: str) -> dict[str, float]:
    """Seconds of one step in matrix products and attention, in other tensor operations, and outside of tensor operations."""
    start = CLOCKS[clock]()
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        learner.step(step)
    whole = CLOCKS[clock]() - start
    of_products = of_others = 0.0
    for event in trace.key_averages():
        if event.key.startswith("aten::"):
            seconds = event.self_cpu_time_total / 1e6
            if any(part in event.key for part in PRODUCTS):
                of_products += seconds
            else:
                of_others += seconds
    return {"products": of_products, "other tensor operations": of_others, "Python": whole - of_products - of_others}


def seconds_of_products(learner: Any, step: int, clock: str) -> dict[str, float]:
    """Clock of the learner -> seconds of the products with weight matrices in a step, replayed with random numbers."""
    part, calls, timed = "", [], learner._timed

    def note(name: str) -> Any:
        nonlocal part
        part = name
        return timed(name)

    scorers = [engine.model for engine in (learner.teacher, learner.reference) if engine]
    layers = {
        layer for model in (learner.model, *scorers) for layer in model.modules() if isinstance(layer, torch.nn.Linear)
    }
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, given: calls.append((part, layer.weight, given[0][..., 0].numel()))
        )
        for layer in layers
    ]
    learner._timed = note
    learner.step(step)
    learner._timed = timed
    for hook in hooks:
        hook.remove()
    tokens = learner.last[0].tokens  # the fused functions take the head's weight, not the layer
    calls += [("score", model.get_output_embeddings().weight, tokens) for model in scorers]
    calls.append(("update", learner.model.get_output_embeddings().weight, tokens))
    found: dict[str, float] = {}
    for name, weight, rows in calls:
        found[name] = found.get(name, 0.0) + _seconds_of(weight.detach(), rows, clock, backward=name == "update")
    return found


def _seconds_of(weight: torch.Tensor, rows: int, clock: str, backward: bool) -> float:
    x = torch.randn(rows, weight.shape[1])
    start = CLOCKS[clock]()
    y = torch.nn.functional.linear(x, weight)
    if backward:  # as large as the product itself: to its input, and to the weight
        y @ weight
        y.T @ x
    return CLOCKS[clock]() - start


def padding(learner: Any) -> tuple[float, float]:
    """Padded over real tokens of the last batch: in one pass, and in the passes of similar length that are used."""
    from sgopd.engines.forward import similar_lengths

    batch, _ = learner.last
    lengths = [len(prompt.token_ids) + len(ids) for prompt, ids in zip(batch.prompts, batch.responses, strict=True)]
    used = sum(len(group) * max(lengths[i] for i in group) for group in similar_lengths(lengths))
    return len(lengths) * max(lengths) / sum(lengths), used / sum(lengths)


def table(title: str, learner: Any, steps: int, clock: str) -> str:
    parts = {name: statistics.median(values) for name, values in seconds_by_part(learner, steps, clock).items()}
    whole = sum(parts.values())
    batch, _ = learner.last
    one, used = padding(learner)
    shares = "not measured in processor time"  # the profiler's clock is the wall's
    if clock == "wall":
        operations = seconds_by_operation(learner, steps + 1, clock)
        shares = ", ".join(f"{name} {value / sum(operations.values()):.0%}" for name, value in operations.items())
    replayed = seconds_of_products(learner, steps + 2, clock)
    alone = {PARTS[clock_name]: seconds for clock_name, seconds in replayed.items()}
    rows = [
        f"| {name} | {value:.3f} | {value / whole:.1%} | {f'{alone[name]:.3f}' if name in alone else ''} |"
        for name, value in parts.items()
    ]
    return "\n".join(
        [
            f"### {title}",
            "",
            f"{len(batch.prompts)} rollouts, {batch.tokens:,} sampled tokens per step; median of {steps} steps.",
            "",
            "| part | seconds | share | its matrix products alone |",
            "|---|---|---|---|",
            *rows,
            f"| **step** | **{whole:.3f}** | {batch.tokens / whole:,.0f} tokens/s | {sum(alone.values()):.3f} |",
            "",
            f"By operation (one step under torch.profiler): {shares}. "
            f"Padded over real tokens: {one:.2f} in one pass, {used:.2f} as used.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--embedded", type=Path, help="folder with configs/tiny.yaml and the data it makes")
    what.add_argument("--shape", choices=random_models.SHAPES)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: what other programs hardly touch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from sgopd.artefacts import Artefacts
    from sgopd.study_files import load_study
    from sgopd.training.learner import Learner

    gate = {"objective": {"rule": "sgopd", "options": {"guard": "clip"}}}
    with tempfile.TemporaryDirectory() as folder:
        if args.embedded:
            os.chdir(args.embedded)
            study, method, title = (
                load_study(Path("configs/tiny.yaml")),
                "sgopd-no-teacher",
                "configs/tiny.yaml, SG-OPD",
            )
        else:
            os.chdir(folder)
            study = random_models.write(Path(folder), random_models.SHAPES[args.shape], {"sgopd": gate})
            method, title = "sgopd", f"{args.shape} shape, random weights, SG-OPD"
        learner = Learner(Artefacts(study), study.runs[method], 0, weights=None)
        print(table(f"{title}, {args.threads} threads, float32, {args.clock} time", learner, args.steps, args.clock))


if __name__ == "__main__":
    main()
