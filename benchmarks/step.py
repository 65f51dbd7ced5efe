"""A whole on-policy distillation step against TRL's trainers: the same model, prompts and generated length.

    pip install torch==2.13.0 -e '.[benchmark]'     # an environment of its own
    python benchmarks/step.py --shape small         # prints a Markdown table

Each variant runs in processes of its own that take turns. A step samples prompts x group rollouts from the student, scores
them with the teacher, and updates the student once (AdamW, float32, gradient norm clipped). Random weights and an
end-of-sequence token that is practically never drawn fix the generated length; the table shows the work that was counted.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import random_models
import torch
from random_models import SHAPES, Shape

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK_NAMES = {"wall": "wall-clock time", "cpu": "processor time"}
now = CLOCKS["wall"]  # main() may choose the other one

Counts = dict[str, float]  # steps, seconds of each, generated and scored tokens and optimiser steps per step


def ours(method: dict[str, Any]) -> Callable[[Shape, int], Counts]:
    def run(shape: Shape, steps: int) -> Counts:
        from sgopd.artefacts import Artefacts
        from sgopd.training.learner import Learner

        study = random_models.write(Path.cwd(), shape, {"opd": method})
        learner = Learner(Artefacts(study), study.runs["opd"], 0, weights=None)
        seconds, generated = [], 0
        for step in range(steps + 1):
            start = now()
            learner.step(step)
            seconds.append(now() - start)
            generated = learner.last[0].tokens
        updates = int(next(iter(learner.optimiser.state.values()))["step"])
        scored = int((learner.last[0].logp_t != 0).sum()) if method["objective"].get("base") is None else generated
        return counts(seconds, generated, scored, updates)

    return run


def counts(seconds: list[float], generated: int, scored: int, updates: int) -> Counts:
    """The first step is a warm-up."""
    return {
        "seconds": statistics.median(seconds[1:]), "generated": generated, "scored": scored,
        "updates": updates / len(seconds),
    }  # fmt: skip


def trl_arguments(shape: Shape, steps: int) -> dict[str, Any]:
    return {
        "output_dir": "trl", "per_device_train_batch_size": shape.prompts * shape.group, "gradient_accumulation_steps": 1,
        "max_steps": steps + 1, "learning_rate": 1e-6, "lr_scheduler_type": "constant", "weight_decay": 0.01,
        "max_grad_norm": 1.0, "bf16": False, "use_cpu": True, "gradient_checkpointing": False, "save_strategy": "no",
        "report_to": "none", "logging_steps": 1000, "disable_tqdm": True, "temperature": 1.0, "beta": 1.0, "seed": 0,
    }  # fmt: skip


def problems(shape: Shape) -> list[str]:
    import pyarrow.parquet as pq

    study = random_models.write(Path.cwd(), shape, {"opd": {}})
    from sgopd.artefacts import Artefacts

    rows = pq.read_table(Artefacts(study).prompts.folder / "train.parquet").to_pylist()
    return [row["problem"] for row in rows for _ in range(shape.group)]


def clock() -> tuple[Any, list[float]]:
    """A callback that notes when each step ends, and the notes; the first interval holds the trainer's start."""
    from transformers import TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times.append(now())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(now())

    return Clock(), times


def load(role: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(role, dtype=torch.float32)


def trl_gkd(shape: Shape, steps: int) -> Counts:
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    texts, seen = problems(shape), {}

    class Counting(GKDTrainer):
        @staticmethod
        def generate_on_policy_outputs(model: Any, inputs: Any, generation_config: Any) -> Any:
            found = GKDTrainer.generate_on_policy_outputs(model, inputs, generation_config)
            seen["generated"] = int((found[2] != -100).sum())
            return found

    answer = [{"role": "assistant", "content": "0"}]
    rows = Dataset.from_list([{"messages": [{"role": "user", "content": text}, *answer]} for text in texts])
    callback, times = clock()
    trainer = Counting(
        model=load("student"), teacher_model=load("teacher"), train_dataset=rows, callbacks=[callback],
        processing_class=random_models.tokenizer(shape),
        args=GKDConfig(**trl_arguments(shape, steps), lmbda=1.0, max_new_tokens=shape.tokens, max_length=512),
    )  # fmt: skip
    trainer.train()
    seconds = [b - a for a, b in itertools.pairwise(times)]
    return counts(seconds, seen["generated"], seen["generated"], trainer.state.global_step)


def trl_distillation(shape: Shape, steps: int) -> Counts:
    from datasets import Dataset
    from trl import DistillationConfig, DistillationTrainer

    texts, seen = problems(shape), {}

    class Counting(DistillationTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = super()._generate_and_score_completions(inputs)
            seen["generated"] = int(found["completion_mask"].sum())
            return found

    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in texts])
    callback, times = clock()
    words = random_models.tokenizer(shape)
    words.padding_side = "left"
    trainer = Counting(
        model=load("student"), teacher_model=load("teacher"), train_dataset=rows, callbacks=[callback],
        processing_class=words,
        args=DistillationConfig(**trl_arguments(shape, steps), max_completion_length=shape.tokens),
    )  # fmt: skip
    trainer.train()
    seconds = [b - a for a, b in itertools.pairwise(times)]
    return counts(seconds, seen["generated"], seen["generated"], trainer.state.global_step)


VARIANTS: dict[str, Callable[[Shape, int], Counts]] = {
    "sgopd, rule opd (sampled tokens)": ours({"objective": {"rule": "opd"}}),
    "sgopd, rule sgopd (gate, verifier, reference)": ours({"objective": {"rule": "sgopd"}}),
    "sgopd, reverse KL over the vocabulary": ours({"objective": {"base": "reverse_kl"}}),
    "TRL GKDTrainer (beta = 1, on-policy)": trl_gkd,
    "TRL DistillationTrainer (beta = 1)": trl_distillation,
}


def in_its_own_process(name: str, args: argparse.Namespace, folder: str) -> Counts:
    command = [sys.executable, __file__, "--only", name, "--folder", folder, "--shape", args.shape]
    command += ["--steps", str(args.steps), "--threads", str(args.threads), "--clock", args.clock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    result: Counts = json.loads(done.stdout.splitlines()[-1])
    print(name, result, file=sys.stderr, flush=True)
    return result


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def report(args: argparse.Namespace, results: dict[str, list[Counts]]) -> str:
    shape = SHAPES[args.shape]
    speed = {name: statistics.median(r["generated"] / r["seconds"] for r in runs) for name, runs in results.items()}
    best = max(value for name, value in speed.items() if name.startswith("TRL"))
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers", "trl"))
    lines = [
        f"### {args.shape}: hidden {shape.hidden}, {shape.layers} layers, vocabulary {shape.vocabulary:,}, "
        f"{shape.prompts} x {shape.group} rollouts of {shape.tokens} tokens",
        "",
        f"float32, {args.threads} threads, {CLOCK_NAMES[args.clock]}, Python {platform.python_version()}, {packages}; "
        f"{args.rounds} rounds of {args.steps} steps after a warm-up step, medians.",
        "",
        "| variant | tokens/s (min - max) | over the better peer | seconds per step | generated | scored | optimiser steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        rates = [r["generated"] / r["seconds"] for r in runs]
        last = runs[-1]
        lines.append(
            f"| {name} | {_rate(speed[name])} ({_rate(min(rates))} - {_rate(max(rates))}) | {speed[name] / best:.2f} x "
            f"| {statistics.median(r['seconds'] for r in runs):.3f} | {last['generated']:,} | {last['scored']:,} "
            f"| {last['updates']:g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: what other programs hardly touch")
    parser.add_argument("--only", choices=VARIANTS, help="one variant, as JSON; used by the script itself")
    parser.add_argument("--folder", type=Path, help="where the models lie; used by the script itself")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    global now
    now = CLOCKS[args.clock]
    if args.only:
        os.chdir(args.folder)
        print(json.dumps(VARIANTS[args.only](SHAPES[args.shape], args.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, list[Counts]] = {name: [] for name in VARIANTS}
        for _ in range(args.rounds):
            for name in VARIANTS:
                results[name].append(in_its_own_process(name, args, folder))
    print(report(args, results))


if __name__ == "__main__":
    main()
