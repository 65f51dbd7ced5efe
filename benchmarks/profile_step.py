"""Where the time of a distillation step goes: rollout, scoring, verification, forward and backward, bookkeeping.

    python benchmarks/profile_step.py --embedded FOLDER     # FOLDER: a checkout in which configs/tiny.yaml was run
    python benchmarks/profile_step.py --shape Qwen3-0.6B

Prints a Markdown table. The parts are the learner's own clocks. "In the models" is what transformers' forward passes and torch's
backward pass take of them. The last column does the same products with weight matrices again, and nothing else: no implementation
of the same step on the same matrix library takes less.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import random_models
import torch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PARTS = {  # the learner's clocks
    "rollout": "rollout",
    "score": "scoring (teacher, reference)",
    "verify": "verification",
    "update": "forward and backward",
}


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


@contextmanager
def running_clock(learner: Any) -> Iterator[list[str]]:
    """A list that holds the name of the learner's clock that runs."""
    timed, name = learner._timed, [""]

    def note(part: str) -> Any:
        name[0] = part
        return timed(part)

    learner._timed = note
    yield name
    learner._timed = timed


def models(learner: Any) -> list[Any]:
    """Student, and those that score."""
    return [learner.model] + [engine.model for engine in (learner.teacher, learner.reference) if engine]


def seconds_in_models(learner: Any, step: int, clock: str) -> dict[str, float]:
    """Clock of the learner -> seconds of a step that are spent in the models' forward passes, which are transformers' code, and in
    the backward pass, which is torch's."""
    found: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    entered: list[float] = []  # a causal LM calls its base model: the outer call counts

    def leave(*_: Any) -> None:
        start = entered.pop()
        if not entered:
            found[name[0]] += CLOCKS[clock]() - start

    def backward(tensor: torch.Tensor, *arguments: Any, **options: Any) -> None:
        entered.append(CLOCKS[clock]())
        unpatched(tensor, *arguments, **options)
        leave()

    modules = {module for model in models(learner) for module in (model, model.base_model)}
    hooks = [module.register_forward_pre_hook(lambda *_: entered.append(CLOCKS[clock]())) for module in modules]
    hooks += [module.register_forward_hook(leave) for module in modules]
    unpatched, torch.Tensor.backward = torch.Tensor.backward, backward
    with running_clock(learner) as name:
        learner.step(step)
    torch.Tensor.backward = unpatched
    for hook in hooks:
        hook.remove()
    return found


def seconds_of_products(learner: Any, step: int, clock: str) -> dict[str, float]:
    """Clock of the learner -> seconds of the products with weight matrices in a step, replayed with random numbers."""
    calls: list[tuple[str, torch.Tensor, int]] = []

    def note(layer: torch.nn.Linear, given: tuple[torch.Tensor, ...]) -> None:
        calls.append((name[0], layer.weight, given[0][..., 0].numel()))

    layers = {layer for model in models(learner) for layer in model.modules() if isinstance(layer, torch.nn.Linear)}
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    with running_clock(learner) as name:
        learner.step(step)
    for hook in hooks:
        hook.remove()
    tokens = learner.last[0].tokens  # the fused functions take the head's weight, not the layer
    for i, model in enumerate(models(learner)):
        calls.append(("score" if i else "update", model.get_output_embeddings().weight, tokens))
    found: dict[str, float] = {}
    for part, weight, rows in calls:
        found[part] = found.get(part, 0.0) + _seconds_of(weight.detach(), rows, clock, backward=part == "update")
    return found


def _seconds_of(weight: torch.Tensor, rows: int, clock: str, backward: bool) -> float:
    x = torch.randn(rows, weight.shape[1])
    start = CLOCKS[clock]()
    y = torch.nn.functional.linear(x, weight)
    if backward:  # as large as the product itself: to its input, and to the weight
        y @ weight
        y.T @ x
    return CLOCKS[clock]() - start


def tokens_passed(learner: Any, step: int) -> str:
    """How many tokens the student's forward passes of an update hold, padding included, beside what they could."""
    sizes: list[int] = []

    def note(_: Any, __: Any, given: dict[str, Any]) -> None:
        if name[0] == "update":
            sizes.append(given["input_ids"].numel())

    hook = learner.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    with running_clock(learner) as name:
        learner.step(step)
    hook.remove()
    batch, _ = learner.last
    lengths = [len(prompt.token_ids) + len(ids) for prompt, ids in zip(batch.prompts, batch.responses, strict=True)]
    return (
        f"The update's {len(sizes)} forward passes hold {sum(sizes):,} tokens, padding included; the sequences hold "
        f"{sum(lengths):,}, and one padded pass over them {len(lengths) * max(lengths):,}."
    )


def _cell(seconds: dict[str, float], part: str) -> str:
    return f"{seconds[part]:.3f}" if seconds.get(part) else ""


def table(title: str, learner: Any, steps: int, clock: str) -> str:
    parts = {name: statistics.median(values) for name, values in seconds_by_part(learner, steps, clock).items()}
    whole = sum(parts.values())
    batch, _ = learner.last
    passes = [seconds_in_models(learner, steps + 1 + i, clock) for i in range(steps)]
    inside = {part: statistics.median(found[name] for found in passes) for name, part in PARTS.items()}
    replayed = seconds_of_products(learner, 2 * steps + 1, clock)
    alone = {part: replayed.get(name, 0.0) for name, part in PARTS.items()}
    rows = [
        f"| {name} | {value:.3f} | {value / whole:.1%} | {_cell(inside, name)} | {_cell(alone, name)} |"
        for name, value in parts.items()
    ]
    return "\n".join(
        [
            f"### {title}",
            "",
            f"{len(batch.prompts)} rollouts, {batch.tokens:,} sampled tokens per step; median of {steps} steps.",
            "",
            "| part | seconds | share | in the models, s | its matrix products alone, s |",
            "|---|---|---|---|---|",
            *rows,
            f"| **step** | **{whole:.3f}** | {batch.tokens / whole:,.0f} tokens/s | {sum(inside.values()):.3f} "
            f"| {sum(alone.values()):.3f} |",
            "",
            tokens_passed(learner, 2 * steps + 2),
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
