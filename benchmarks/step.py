"""A whole on-policy distillation step against TRL's trainers: the same model, prompts and generated length.

    pip install torch==2.13.0 -e '.[benchmark]'     # an environment of its own
    python benchmarks/step.py --shape small         # prints a Markdown table
    python benchmarks/step.py --embedded FOLDER     # FOLDER: a checkout in which configs/tiny.yaml was run

Each variant runs in processes of its own that take turns. A step samples prompts x group rollouts from the student, scores
them with the teacher, and updates the student once (AdamW, float32, gradient norm clipped). With ``--shape`` random weights
and an end-of-sequence token that is practically never drawn fix the generated length; with ``--embedded`` the trained student
ends its rollouts itself, as in a real run. The table shows the work that was counted.
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
from random_models import LR, SHAPES, Shape

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK_NAMES = {"wall": "wall-clock time", "cpu": "processor time"}
now = CLOCKS["wall"]  # main() may choose the other one

Counts = dict[str, float]  # tokens per second, seconds, generated and scored tokens and optimiser steps, each of a step


METHODS: dict[str, Any] = {
    "opd": {"objective": {"rule": "opd"}},
    "sgopd": {"objective": {"rule": "sgopd"}},
    "reverse-kl": {"objective": {"base": "reverse_kl"}},
}


class Setting:
    """Models, prompts and sizes, the same for all variants: of random models, or those of the embedded study in a checkout."""

    def __init__(self, shape: Shape | None, embedded: Path | None) -> None:
        from sgopd.artefacts import Artefacts
        from sgopd.config import Study
        from sgopd.study_files import load_study

        if embedded:
            raw = load_study(embedded / "configs/tiny.yaml").model_dump()
            raw["training"]["objective"] = {}  # without the guards of the study's own methods
            raw["training"]["optimiser"]["lr"] = LR
            study = Study.model_validate(raw | {"methods": METHODS, "baseline": next(iter(METHODS))})
            self.artefacts = Artefacts(study, embedded / "data")
        else:
            assert shape
            self.artefacts = Artefacts(random_models.write(Path.cwd(), shape, METHODS))
        self.training = next(iter(self.artefacts.study.runs.values()))
        self.rollouts = self.training.prompts_per_step * self.training.group_size
        self.tokens = self.training.sampling.max_new_tokens

    def model(self, role: Any) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.artefacts.model(role).folder, dtype=torch.float32)

    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.artefacts.model("student").folder)

    def problems(self) -> list[str]:
        """Each prompt as often as its group is large."""
        import pyarrow.parquet as pq

        rows = pq.read_table(self.artefacts.prompts.folder / "train.parquet").to_pylist()
        return [row["problem"] for row in rows for _ in range(self.training.group_size)]


def ours(name: str) -> Callable[[Setting, int], Counts]:
    def run(setting: Setting, steps: int) -> Counts:
        from sgopd.training.learner import Learner

        training = setting.artefacts.study.runs[name]
        learner = Learner(setting.artefacts, training, 0, weights=None)
        seconds, generated, scored = [], [], []
        for step in range(steps + 1):
            start = now()
            learner.step(step)
            seconds.append(now() - start)
            generated.append(learner.last[0].tokens)
            scored.append(int((learner.last[0].logp_t != 0).sum()))
        updates = int(next(iter(learner.optimiser.state.values()))["step"])
        return counts(seconds, generated, scored, updates)

    return run


def counts(seconds: list[float], generated: list[int], scored: list[int], updates: int) -> Counts:
    """Medians over the steps; the first one is a warm-up."""
    rates = [tokens / time for tokens, time in zip(generated[1:], seconds[1:], strict=True)]
    return {
        "rate": statistics.median(rates), "seconds": statistics.median(seconds[1:]),
        "generated": statistics.median(generated[1:]), "scored": statistics.median(scored[1:]), "updates": updates / len(seconds),
    }  # fmt: skip


def trl_arguments(setting: Setting, steps: int) -> dict[str, Any]:
    return {
        "output_dir": "trl", "per_device_train_batch_size": setting.rollouts, "gradient_accumulation_steps": 1,
        "max_steps": steps + 1, "learning_rate": LR, "lr_scheduler_type": "constant", "weight_decay": 0.01,
        "max_grad_norm": 1.0, "bf16": False, "use_cpu": True, "gradient_checkpointing": False, "save_strategy": "no",
        "report_to": "none", "logging_steps": 1000, "disable_tqdm": True, "temperature": 1.0, "beta": 1.0, "seed": 0,
    }  # fmt: skip


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


def trl_gkd(setting: Setting, steps: int) -> Counts:
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    generated: list[int] = []

    class Counting(GKDTrainer):
        @staticmethod
        def generate_on_policy_outputs(model: Any, inputs: Any, generation_config: Any) -> Any:
            found = GKDTrainer.generate_on_policy_outputs(model, inputs, generation_config)
            generated.append(int((found[2] != -100).sum()))
            return found

    answer = [{"role": "assistant", "content": "0"}]
    rows = [{"messages": [{"role": "user", "content": text}, *answer]} for text in setting.problems()]
    callback, times = clock()
    trainer = Counting(
        model=setting.model("student"), teacher_model=setting.model("teacher"), train_dataset=Dataset.from_list(rows),
        callbacks=[callback], processing_class=setting.tokenizer(),
        args=GKDConfig(**trl_arguments(setting, steps), lmbda=1.0, max_new_tokens=setting.tokens, max_length=512),
    )  # fmt: skip
    trainer.train()
    seconds = [b - a for a, b in itertools.pairwise(times)]
    return counts(seconds, generated, generated, trainer.state.global_step)


def trl_distillation(setting: Setting, steps: int) -> Counts:
    from datasets import Dataset
    from trl import DistillationConfig, DistillationTrainer

    generated: list[int] = []

    class Counting(DistillationTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = super()._generate_and_score_completions(inputs)
            generated.append(int(found["completion_mask"].sum()))
            return found

    rows = [{"prompt": [{"role": "user", "content": text}]} for text in setting.problems()]
    callback, times = clock()
    words = setting.tokenizer()
    words.padding_side = "left"
    trainer = Counting(
        model=setting.model("student"), teacher_model=setting.model("teacher"), train_dataset=Dataset.from_list(rows),
        callbacks=[callback], processing_class=words,
        args=DistillationConfig(**trl_arguments(setting, steps), max_completion_length=setting.tokens),
    )  # fmt: skip
    trainer.train()
    seconds = [b - a for a, b in itertools.pairwise(times)]
    return counts(seconds, generated, generated, trainer.state.global_step)


VARIANTS: dict[str, Callable[[Setting, int], Counts]] = {
    "sgopd, rule opd (sampled tokens)": ours("opd"),
    "sgopd, rule sgopd (gate, verifier, reference)": ours("sgopd"),
    "sgopd, reverse KL over the vocabulary": ours("reverse-kl"),
    "TRL GKDTrainer (beta = 1, on-policy)": trl_gkd,
    "TRL DistillationTrainer (beta = 1)": trl_distillation,
}


def in_its_own_process(name: str, args: argparse.Namespace, folder: str) -> Counts:
    command = [sys.executable, __file__, "--only", name, "--folder", folder]
    command += ["--embedded", str(args.embedded)] if args.embedded else ["--shape", args.shape]
    command += ["--steps", str(args.steps), "--threads", str(args.threads), "--clock", args.clock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    result: Counts = json.loads(done.stdout.splitlines()[-1])
    print(name, result, file=sys.stderr, flush=True)
    return result


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _title(args: argparse.Namespace) -> str:
    if args.embedded:
        return "configs/tiny.yaml: the embedded models and problems, rollouts that end by themselves"
    shape = SHAPES[args.shape]
    return (
        f"{args.shape}: hidden {shape.hidden}, {shape.layers} layers, vocabulary {shape.vocabulary:,}, "
        f"{shape.prompts} x {shape.group} rollouts of {shape.tokens} tokens"
    )


def report(args: argparse.Namespace, results: dict[str, list[Counts]]) -> str:
    speed = {name: statistics.median(r["rate"] for r in runs) for name, runs in results.items()}
    best = max(value for name, value in speed.items() if name.startswith("TRL"))
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers", "trl"))
    lines = [
        f"### {_title(args)}",
        "",
        f"float32, {args.threads} threads, {CLOCK_NAMES[args.clock]}, Python {platform.python_version()}, {packages}; "
        f"{args.rounds} rounds of {args.steps} steps after a warm-up step, medians.",
        "",
        "| variant | tokens/s (min - max) | over the better peer | seconds per step | generated | scored | optimiser steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        rates, last = [r["rate"] for r in runs], runs[-1]
        lines.append(
            f"| {name} | {_rate(speed[name])} ({_rate(min(rates))} - {_rate(max(rates))}) | {speed[name] / best:.2f} x "
            f"| {statistics.median(r['seconds'] for r in runs):.3f} | {last['generated']:,} | {last['scored']:,} "
            f"| {last['updates']:g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--shape", choices=SHAPES, default="small")
    what.add_argument("--embedded", type=Path, help="folder with configs/tiny.yaml and the data it makes")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: what other programs hardly touch")
    parser.add_argument("--only", choices=VARIANTS, help="one variant, as JSON; used by the script itself")
    parser.add_argument("--folder", type=Path, help="where the models lie; used by the script itself")
    args = parser.parse_args()
    args.embedded = args.embedded and args.embedded.resolve()
    torch.set_num_threads(args.threads)
    global now
    now = CLOCKS[args.clock]
    if args.only:
        os.chdir(args.folder)
        print(json.dumps(VARIANTS[args.only](Setting(SHAPES[args.shape], args.embedded), args.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, list[Counts]] = {name: [] for name in VARIANTS}
        for _ in range(args.rounds):
            for name in VARIANTS:
                results[name].append(in_its_own_process(name, args, folder))
    print(report(args, results))


if __name__ == "__main__":
    main()
