"""The command line: one sub-command per stage. Typed options, errors in one line with exit code 2.

Every stage reads the study (a YAML file), finds its inputs where Snakemake puts them, and returns at once when its output is
complete. `sgopd STAGE --help` says what goes in and out.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgopd.errors import UserError, machine_fault, masked

if TYPE_CHECKING:
    from sgopd.artefacts import Artefact

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Verifier-gated on-policy distillation as a reproducible experiment. `snakemake --cores all` runs every stage in order; "
    "each sub-command is one stage and can be run alone.",
)

StudyFile = Annotated[Path, typer.Option("--study", help="Study file, e.g. configs/tiny.yaml.", show_default=True)]
Point = Annotated[
    str, typer.Option("--point", help="Point of the study's grid, e.g. 'flaw=0.5'; empty if it has none.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to write instead of the study's own place.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads for the models' arithmetic.")]
Fingerprint = Annotated[
    str, typer.Option("--fingerprint", help="Fingerprint of the artefact, instead of --point: any point that needs it.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the run.")]
TINY = Path("configs/tiny.yaml")


def _study(path: Path, point: str):  # type: ignore[no-untyped-def]
    from sgopd.study_files import load_study

    return load_study(path, point)


def _artefacts(study):  # type: ignore[no-untyped-def]
    from sgopd.artefacts import Artefacts

    return Artefacts(study)


def _study_that_needs(kind: str, fingerprint: str, path: Path, point: str):  # type: ignore[no-untyped-def]
    """The point of the study whose shared artefact has this fingerprint; without one, the point named."""
    if not fingerprint:
        return _study(path, point)
    from sgopd.artefacts import Artefacts
    from sgopd.study_files import load_studies

    for study in load_studies(path):
        if Artefacts(study).shared(kind).fingerprint == fingerprint:
            return study
    raise UserError(
        f"--fingerprint {fingerprint}: no {kind} of {path} has it; `snakemake -n` shows those that it needs."
    )


@contextlib.contextmanager
def _alone(artefact: "Artefact") -> Iterator[None]:
    """No other job makes this artefact meanwhile; under torchrun the first process holds the lock for all."""
    from sgopd.training.distributed import barrier, first

    with artefact.alone() if first() else contextlib.nullcontext():
        barrier()
        yield


def _use(threads: int) -> None:
    """CPU threads of this process; under torchrun it joins the others and takes its part of them."""
    import torch

    from sgopd.training import distributed

    distributed.start()
    torch.set_num_threads(max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


@app.command()
def model(
    role: Annotated[str, typer.Argument(help="teacher or student.")],
    study: StudyFile = TINY, point: Point = "", fingerprint: Fingerprint = "", out: Out = None, threads: Threads = 1,
) -> None:  # fmt: skip
    """Train one of the embedded models from its recipe (a study with hub models skips this stage).

    In: models.ROLE of the study. Out: a folder that transformers loads (safetensors, tokenizer with chat template).
    """
    from sgopd.pretrain import train_model

    if role not in ("teacher", "student"):
        raise UserError(f"role: {role!r} is not a role; allowed: teacher, student.")
    loaded = _study_that_needs(role, fingerprint, study, point)
    _use(threads)
    with _alone(_artefacts(loaded).model(role)):
        train_model(loaded, role, out)  # type: ignore[arg-type]


@app.command()
def prompts(study: StudyFile = TINY, point: Point = "", fingerprint: Fingerprint = "", out: Out = None) -> None:
    """Load, clean and split the problems; check that train, validation and benchmarks are disjoint.

    In: prompts of the study. Out: one table per split, and a summary of how many rows fell out where.
    """
    from sgopd.prompts.stage import prepare

    loaded = _study_that_needs("prompts", fingerprint, study, point)
    with _artefacts(loaded).prompts.alone():
        prepare(loaded, out)


@app.command()
def rollouts(
    study: StudyFile = TINY, point: Point = "", fingerprint: Fingerprint = "", out: Out = None, threads: Threads = 1
) -> None:
    """Sample the teacher on the training prompts: the cache, made once and shared by every run.

    In: teacher, prompts. Out: rollouts.parquet with token ids and the teacher's per-token log-probs.
    """
    from sgopd.rollouts import sample_teacher

    loaded = _study_that_needs("rollouts", fingerprint, study, point)
    _use(threads)
    with _alone(_artefacts(loaded).rollouts):
        sample_teacher(loaded, out)


@app.command()
def verdicts(study: StudyFile = TINY, point: Point = "", fingerprint: Fingerprint = "", out: Out = None) -> None:
    """Check the answer of every cached teacher rollout.

    In: rollouts, prompts. Out: verdicts.parquet (correct, incorrect, no_answer, truncated, timeout or error, and why).
    """
    from sgopd.rollouts import judge_teacher

    loaded = _study_that_needs("verdicts", fingerprint, study, point)
    with _artefacts(loaded).verdicts.alone():
        judge_teacher(loaded, out)


@app.command()
def distil(
    method: Annotated[str, typer.Option("--method", help="A method of the study.")],
    phase: Annotated[int, typer.Option("--phase", min=1, max=3, help="1 cold start, 2 annealing, 3 pure on-policy.")],
    seed: Seed = 0, study: StudyFile = TINY, point: Point = "", out: Out = None, threads: Threads = 1,
) -> None:  # fmt: skip
    """Run one phase of one method at one seed, from the previous phase's weights; resumes from its last checkpoint.

    In: models, prompts, verdicts, the previous phase. Out: weights, optimiser state, metrics, some token-level rollouts.
    """
    from sgopd.training.distil import distil as run_phase

    loaded = _study(study, point)
    _known("method", method, list(loaded.methods), study)
    _use(threads)
    with _alone(_artefacts(loaded).phase(method, seed, phase)):
        run_phase(loaded, method, seed, phase, out)


@app.command()
def evaluate(
    method: Annotated[str, typer.Option("--method", help="A method of the study, or teacher or student.")],
    seed: Seed = 0, study: StudyFile = TINY, point: Point = "", out: Out = None, threads: Threads = 1,
) -> None:  # fmt: skip
    """Sample a final model on every benchmark and check the answers.

    In: the run's phase 3 (or a model of the pair). Out: evaluations.parquet, one row per sample.
    """
    from sgopd.evaluation.evaluate import evaluate as run_evaluation

    loaded = _study(study, point)
    _known("method", method, ["teacher", "student", *loaded.methods], study)
    _use(threads)
    with _alone(_artefacts(loaded).evaluation(method, seed)):
        run_evaluation(loaded, method, seed, out)


@app.command()
def compare(study: StudyFile = TINY, point: Point = "", out: Out = None) -> None:
    """Compare all methods with the baseline: tables with intervals and paired differences.

    In: all evaluations. Out: tables/main.md, .csv, .tex and their companions.
    """
    from sgopd.reporting.stage import compare as write_comparison

    loaded = _study(study, point)
    with _artefacts(loaded).comparison.alone():
        write_comparison(loaded, out)


@app.command()
def grid(study: StudyFile = TINY) -> None:
    """Lay the comparisons of all points of a study's grid side by side.

    In: tables/main.csv of every point. Out: tables/grid.md, .csv and figures/grid.
    """
    from sgopd.reporting.stage import grid as write_grid
    from sgopd.study_files import load_studies

    points = load_studies(study)
    if not points[0].point:
        raise UserError(f"{study}: has no `grid`, so there is nothing to lay side by side.")
    write_grid(points)


@app.command()
def report(study: StudyFile = TINY, point: Point = "", out: Out = None) -> None:
    """Draw the figures and write report.html, one page that works offline.

    In: tables, metrics of every run, token-level rollouts. Out: figures (PNG, SVG), report.html.
    """
    from sgopd.reporting.stage import report as write_report

    loaded = _study(study, point)
    with _artefacts(loaded).comparison.alone():
        write_report(loaded, out)


@app.command()
def sync() -> None:
    """Send to MLflow what could not be delivered while its server was away."""
    from sgopd import tracking

    typer.echo(f"{tracking.replay()} logs delivered to {masked(tracking.tracking_uri())}.")


@app.command()
def rules() -> None:
    """List every advantage rule with its options and their defaults."""
    import dataclasses

    from sgopd import objectives

    for name, options in objectives.rules().items():
        shown = ", ".join(f"{field.name}={field.default!r}" for field in dataclasses.fields(options))
        typer.echo(f"{name:14} {shown}")


MachineName = Annotated[
    str, typer.Option("--machine", help="a100, h100, h200 or cpu; by default what this machine has.")
]


def _machine(name: str):  # type: ignore[no-untyped-def]
    from sgopd.plan import MACHINES, this_machine

    _known("machine", name or "cpu", list(MACHINES), Path("sgopd"))
    return MACHINES[name or this_machine()]


@app.command()
def doctor(study: StudyFile = TINY, point: Point = "", machine: MachineName = "") -> None:
    """Look for everything that would stop a study, before an hour is spent on it. Loads no weights, changes nothing.

    Checks tokenizers, chat template, EOS, vocabulary and context of the models, memory per GPU (and which key to turn), engines,
    disk, data, MLflow and DVC. Exit code 2 if anything is bad.
    """
    from sgopd.doctor import examine

    findings = examine(_study(study, point), _machine(machine))
    for finding in findings:
        typer.echo(f"{finding.verdict:9} {finding.about:14} " + finding.text.replace("\n", "\n" + " " * 25))
    if any(finding.verdict == "bad" for finding in findings):
        raise UserError(f"{study}: mend what is bad above first.")


@app.command()
def plan(
    study: StudyFile = TINY, point: Point = "", machine: MachineName = "",
    response: Annotated[
        float | None, typer.Option("--response-tokens", min=1, help="Mean length of a response, if you know it.")
    ] = None,
) -> None:  # fmt: skip
    """Print jobs, tokens, GPU-hours and disk of every stage of a study, and how much of it is there already.

    GPU-hours come from FLOPs at an assumed utilisation: good to a factor of about two.
    """
    from sgopd.artefacts import Artefacts
    from sgopd.plan import assume, table
    from sgopd.plan import plan as make_plan

    loaded = _study(study, point)
    assumed = assume(Artefacts(loaded), response)
    typer.echo(table(make_plan(loaded, _machine(machine), response), loaded.hardware.processes))
    typer.echo(
        f"\n{assumed.train} training prompts, {assumed.benchmarks} benchmark problems, {assumed.response:.0f} tokens per response "
        f"({assumed.source})"
    )


@app.command()
def config_docs() -> None:
    """Print the reference of all config keys (docs/configuration.md) as Markdown."""
    from sgopd.config_docs import render

    typer.echo(render(), nl=False)


@app.command()
def show(study: StudyFile = TINY, point: Point = "") -> None:
    """Check a study and print it with every default filled in, and each method's settings."""
    loaded = _study(study, point)
    resolved = loaded.model_dump(mode="json", exclude={"methods"})
    resolved["methods"] = {name: training.model_dump(mode="json") for name, training in loaded.runs.items()}
    typer.echo(json.dumps(resolved, indent=1))


@app.command()
def check(
    cases: Annotated[Path, typer.Argument(help="JSONL with id, gold, response (and options) per line.")],
    out: Annotated[Path, typer.Option("--out", help="JSONL to write: id, verdict, answer, reason, seconds.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Worker processes.")] = 2,
    extract: Annotated[
        str,
        typer.Option("--extract", help="boxed: last \\boxed{} only; stated: also a stated answer; guess: last number."),
    ] = "stated",
    cache: Annotated[Path | None, typer.Option("--cache", help="File that keeps verdicts by content.")] = None,
) -> None:
    """Check answers without a study: one line out per line in, same order."""
    from sgopd.verifier import VerifierOptions, check_file

    _known("extract", extract, ["boxed", "stated", "guess"], cases)
    check_file(cases, out, VerifierOptions(workers=workers, extract=extract, cache_path=cache))  # type: ignore[arg-type]


@app.command()
def verify_store(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders to look through [default: data results].")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Pull what is damaged from the DVC remote, or remove it to be made again.")
    ] = False,
) -> None:
    """Compare every artefact below the folders with its manifest; names the first damaged file of each."""
    from sgopd import repair as repairs

    found = repairs.artefacts(folders or [Path("data"), Path("results")])
    problems = {folder: problem for folder in found if (problem := repairs.damage(folder))}
    if problems and not repair:
        raise UserError("\n".join(problems.values()))
    for folder, problem in problems.items():
        typer.echo(f"{problem}\n  -> {repairs.repair(folder)}")
    sound = len(found) - len(problems)
    typer.echo(f"{sound} artefacts are as their manifests say." + (" Now run Snakemake again." if problems else ""))


def _known(option: str, value: str, allowed: list[str], study: Path) -> None:
    if value not in allowed:
        raise UserError(f"--{option} {value!r} is not one for {study}; allowed: {', '.join(allowed)}.")


def _mask(record: logging.LogRecord) -> bool:
    """No log line holds a secret."""
    record.msg, record.args = masked(record.getMessage()), None
    return True


def main() -> None:
    """Entry point: logs to stderr; a UserError becomes one message and exit code 2."""
    logging.basicConfig(level=os.environ.get("SGOPD_LOG", "INFO"), format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_mask)
    for noisy in ("alembic", "mlflow", "matplotlib", "fontTools", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracking says in a line what it failed at
    # a job that is cancelled or out of time ends like any other: temporary files go, the run in MLflow is marked
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except UserError as error:
        typer.echo(f"sgopd: {masked(str(error))}", err=True)
        sys.exit(2)
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        typer.echo(f"sgopd: {masked(fault)}", err=True)
        sys.exit(2)
