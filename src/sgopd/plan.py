"""What a study will cost before it runs: jobs, tokens, GPU-hours and bytes per stage, and how much of it is there already.

FLOPs come from the models' shapes; how fast a machine does them is a table below. Knows no algorithm.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sgopd.artefacts import PHASES, Artefact, Artefacts, uses_cache
from sgopd.config import Study, Training
from sgopd.objectives import needs_reference
from sgopd.prompts.synthetic import SyntheticSource
from sgopd.shapes import Shape, shape_of
from sgopd.store import is_complete, read_manifest

PROMPT_TOKENS, SYNTHETIC_PROMPT_TOKENS = 150, 25  # of a competition problem with the template (assumed), of a chain


@dataclass(frozen=True)
class Machine:
    """FLOP/s that one process reaches. The GPUs' figures are their bfloat16 peak times an assumed share (not measured here);
    the CPU's are measured on the tiny study by benchmarks/cost.py (one core)."""

    training: float
    scoring: float
    sampling: float
    memory_gib: float


MACHINES = {
    "a100": Machine(0.40 * 312e12, 0.50 * 312e12, 0.05 * 312e12, 80),
    "h100": Machine(0.40 * 989e12, 0.50 * 989e12, 0.05 * 989e12, 80),
    "h200": Machine(0.40 * 989e12, 0.50 * 989e12, 0.06 * 989e12, 141),
    "cpu": Machine(17e9, 17e9, 4.3e9, 16),
}


def this_machine() -> str:
    """The entry of MACHINES that this machine is most like."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    name = torch.cuda.get_device_name().lower()
    return next((known for known in ("h200", "h100") if known in name), "a100")


@dataclass(frozen=True)
class Stage:
    """One line of the plan. ``tokens``: sampled or trained on; ``hours`` and ``bytes`` of the jobs still to run."""

    name: str
    jobs: int
    cached: int
    tokens: float
    hours: float
    bytes: float


@dataclass(frozen=True)
class Assumed:
    """Prompts of each split and the mean length of a response, and where the latter comes from."""

    train: int
    validation: int
    benchmarks: int
    prompt: float
    response: float
    source: str


def plan(study: Study, machine: Machine, response: float | None = None) -> list[Stage]:
    """The stages of a study in their order. ``response``: mean tokens of a response."""
    artefacts = Artefacts(study)
    student, teacher = shape_of(study.models.student), shape_of(study.models.teacher)
    assumed = assume(artefacts, response)
    stages = [_one("prompts", artefacts.prompts, 0, 0, 2e3 * assumed.train)]
    if any(uses_cache(training) for training in study.runs.values()):
        tokens = assumed.train * study.rollouts.samples_per_prompt * assumed.response
        flops = teacher.forward_flops(tokens, assumed.response / 2)
        stages.append(_one("rollouts", artefacts.rollouts, tokens, flops / machine.sampling, 4 * tokens))
        stages.append(_one("verdicts", artefacts.verdicts, 0, 0, 0))
    stages += [
        _distil(artefacts, assumed, student, teacher, machine),
        _evaluate(artefacts, assumed, student, teacher, machine),
    ]
    return stages


def assume(artefacts: Artefacts, response: float | None) -> Assumed:
    """What is known of the data: counted where a stage has run, else declared, else the published sizes."""
    study = artefacts.study
    known = _stats(artefacts.prompts)
    benchmarks = sum(known.get(name) or _size(source) for name, source in study.prompts.benchmarks.items())
    source = "given"
    if response is None:
        cache = _stats(artefacts.rollouts)
        limit = study.training.sampling.max_new_tokens
        response = cache["tokens"] / cache["rollouts"] if cache else limit / 3
        source = "mean of the cached teacher rollouts" if cache else "assumed: a third of max_new_tokens"
    prompt = SYNTHETIC_PROMPT_TOKENS if isinstance(study.prompts.train, SyntheticSource) else PROMPT_TOKENS
    trained = known.get("train") or _size(study.prompts.train)
    return Assumed(
        int(trained),
        int(known.get("validation") or _size(study.prompts.validation)),
        int(benchmarks),
        prompt,
        response,
        source,
    )


def _size(source: object) -> int:
    """Problems of a source that is not loaded yet: synthetic ones are declared, a benchmark has 30, DeepMath from difficulty 6
    on 57,046."""
    if isinstance(source, SyntheticSource):
        return source.count
    return 57046 if "DeepMath" in getattr(source, "name", "") else 30


def _stats(artefact: Artefact) -> dict[str, int]:
    return read_manifest(artefact.folder).stats if is_complete(artefact.folder, artefact.fingerprint) else {}


def _distil(artefacts: Artefacts, assumed: Assumed, student: Shape, teacher: Shape, machine: Machine) -> Stage:
    study = artefacts.study
    jobs, cached, tokens, seconds, size = 0, 0, 0.0, 0.0, 0.0
    weights_and_moments = 12 * student.parameters
    for method, training in study.runs.items():
        for seed in study.seeds:
            for phase in PHASES:
                artefact = artefacts.phase(method, seed, phase)
                first, end = training.phase_bounds()[phase - 1]
                jobs += 1
                if is_complete(artefact.folder, artefact.fingerprint):
                    cached += 1
                    continue
                sampled = (end - first) * training.prompts_per_step * training.group_size * assumed.response
                tokens += sampled
                seconds += run_seconds(training, sampled, assumed, student, teacher, machine, (first, end))
                size += weights_and_moments
    return Stage("distil", jobs, cached, tokens, seconds / 3600, size)


def run_seconds(
    training: Training,
    sampled: float,
    assumed: Assumed,
    student: Shape,
    teacher: Shape,
    machine: Machine,
    steps: tuple[int, int],
) -> float:
    """Seconds of one process for the steps ``first..end`` with ``sampled`` response tokens; divide by the processes."""
    texts = sampled / assumed.response * (assumed.response + assumed.prompt)
    context = (assumed.response + assumed.prompt) / 2
    passes = 4 if training.gradient_checkpointing else 3
    update = passes * student.forward_flops(texts, context) / machine.training
    if training.objective.rule == "sft":
        return update
    scored = teacher.forward_flops(texts, context)
    if needs_reference(training.objective.rule):
        scored += student.forward_flops(texts, context)
    rounds = sum((step + 1) % training.validate_every == 0 for step in range(*steps))
    validated = rounds * assumed.validation * training.validation_samples * assumed.response
    drawn = student.forward_flops(sampled + validated, context)
    return update + scored / machine.scoring + drawn / machine.sampling


def _evaluate(artefacts: Artefacts, assumed: Assumed, student: Shape, teacher: Shape, machine: Machine) -> Stage:
    samples = assumed.benchmarks * artefacts.study.evaluation.samples
    jobs, cached, seconds = 0, 0, 0.0
    for method, seed in artefacts.evaluated():
        artefact = artefacts.evaluation(method, seed)
        jobs += 1
        if is_complete(artefact.folder, artefact.fingerprint):
            cached += 1
            continue
        shape = teacher if method == "teacher" else student
        seconds += shape.forward_flops(samples * assumed.response, assumed.response / 2) / machine.sampling
    left = jobs - cached
    return Stage("evaluate", jobs, cached, left * samples * assumed.response, seconds / 3600, left * samples * 100)


def _one(name: str, artefact: Artefact, tokens: float, seconds: float, size: float) -> Stage:
    if is_complete(artefact.folder, artefact.fingerprint):
        return Stage(name, 1, 1, 0, 0, 0)
    return Stage(name, 1, 0, tokens, seconds / 3600, size)


def table(stages: Iterable[Stage], processes: int) -> str:
    """The plan as text; wall-clock hours are those of jobs one after the other on ``processes`` GPUs."""
    lines = [f"{'stage':10} {'jobs':>5} {'cached':>6} {'tokens':>10} {'GPU-hours':>10} {'hours':>8} {'disk':>9}"]
    rows = list(stages)
    total = Stage("all", sum(s.jobs for s in rows), sum(s.cached for s in rows), sum(s.tokens for s in rows),
                  sum(s.hours for s in rows), sum(s.bytes for s in rows))  # fmt: skip
    for stage in (*rows, total):
        lines.append(
            f"{stage.name:10} {stage.jobs:5} {stage.cached:6} {stage.tokens:10.3g} {stage.hours:10.3g} "
            f"{stage.hours / processes:8.3g} {stage.bytes / 2**30:6.1f} GiB"
        )
    return "\n".join(lines)


def free_bytes(folder: Path) -> int:
    """Free space on the file system that ``folder`` is or will be on."""
    import shutil

    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(there).free
