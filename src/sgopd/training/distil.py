"""The distillation stage: one phase of one run, from the previous phase's weights to its own.

In: a study, a method, a seed, a phase. Out: a folder with weights, optimiser state, metrics, and some rollouts with what the
gate did to their tokens. Resumes from the newest checkpoint. The algorithm itself is in learner.py.
"""

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

from sgopd import tracking
from sgopd.artefacts import Artefact, Artefacts, uses_cache
from sgopd.config import Study
from sgopd.errors import NotFinite
from sgopd.progress import Reporter, track
from sgopd.records import GATE_TOKENS, METRICS
from sgopd.store import atomic_write_text, clear, finish, is_complete, rows_to_table, write_table
from sgopd.training.checkpoint import (
    Checkpoints,
    Progress,
    load_optimiser,
    save_adapters,
    save_model,
    save_optimiser,
)
from sgopd.training.distributed import barrier, first
from sgopd.training.learner import VALIDATION, Learner
from sgopd.training.stop import Stop, stopping

logger = logging.getLogger(__name__)


def distil(study: Study, method: str, seed: int, phase: int, out: Path | None = None) -> Path:
    """Run phase 1, 2 or 3 of ``method`` at ``seed``; returns the folder of the finished phase.

    A finished phase with the same fingerprint is left alone; an interrupted one goes on from its newest checkpoint.
    """
    artefacts = Artefacts(study)
    artefact = artefacts.phase(method, seed, phase)
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete (fingerprint %s)", folder, artefact.fingerprint)
        return folder
    previous = artefacts.phase(method, seed, phase - 1).checked() if phase > 1 else None
    checkpoints = Checkpoints(artefact.partial)
    learner, progress = _start(artefacts, method, seed, phase, previous, checkpoints)
    tracked = tracking.run(
        study.name, tracking.method_name(method, study.point), seed, phase=f"phase{phase}",
        fingerprint=artefacts.final_model(method, seed).fingerprint, params=study.runs[method].settings(),
        tags={"point": study.point},
    )  # fmt: skip
    with tracked if first() else contextlib.nullcontext() as run:
        if run:
            _link(run, artefacts, method)
        _train(learner, progress, phase, f"{method} seed {seed} phase {phase}", checkpoints, run)
        _write(folder, artefact, learner, progress)
    if first():
        checkpoints.remove()
    return folder


def _link(run: tracking.Run, artefacts: Artefacts, method: str) -> None:
    """The data sets and models that the run reads."""
    run.dataset("prompts", artefacts.prompts.fingerprint, artefacts.prompts.folder)
    if uses_cache(artefacts.study.runs[method]):
        run.dataset("teacher rollouts", artefacts.rollouts.fingerprint, artefacts.rollouts.folder)
    for role in ("teacher", "student"):
        model = artefacts.model(role)
        run.model(role, model.fingerprint, model.folder)


def _start(
    artefacts: Artefacts, method: str, seed: int, phase: int, previous: Path | None, checkpoints: Checkpoints
) -> tuple[Learner, Progress]:
    """The learner where it left off: a checkpoint of this phase, the end of the previous one, or the initial student."""
    training = artefacts.study.runs[method]
    newest = checkpoints.newest()
    source = newest or previous
    learner = Learner(artefacts, training, seed, weights=source)
    if source:
        load_optimiser(learner.optimiser, source)
    if newest:
        progress = Checkpoints.read_progress(newest)
        logger.info("%s seed %d phase %d goes on from step %d", method, seed, phase, progress.step)
        learner.seconds.update(progress.seconds)
        return learner, progress
    return learner, Progress(step=training.phase_bounds()[phase - 1][0])


def _train(learner: Learner, progress: Progress, phase: int, name: str, checkpoints: Checkpoints, run: Any) -> None:
    """All steps of the phase that are left. Step n is the batch drawn by the student after n updates.

    On SIGTERM a checkpoint is written and the process ends with exit code 143.
    """
    start, end = learner.training.phase_bounds()[phase - 1]
    reporter = Reporter()
    with stopping(learner.optimiser) as stop:
        try:
            if phase == 1 or progress.step > start:
                _validate(learner, progress, phase, run, reporter, stop)
            for _ in track(range(progress.step, end), name, end - progress.step, reporter):
                evidence = checkpoints.folder.parent / f"not-finite-step{progress.step:07d}"
                _step(learner, progress, phase, run, reporter, stop, evidence)
                if progress.step % learner.training.checkpoint_every == 0 and progress.step < end:
                    checkpoints.save(learner.model, learner.optimiser, progress)
        except SystemExit:
            checkpoints.save(learner.model, learner.optimiser, progress)
            logger.warning(
                "%s was asked to leave (SIGTERM): step %d is saved, run it again to go on", name, progress.step
            )
            raise


def _step(
    learner: Learner, progress: Progress, phase: int, run: Any, reporter: Reporter, stop: Stop, evidence: Path
) -> None:
    """One step and the validation after it, which alone is left to do when the process was stopped between the two."""
    training, step = learner.training, progress.step
    with stop.at_once():
        try:
            metrics = learner.step(step)
        except NotFinite as error:
            learner.save_evidence(step, error, evidence)
            raise NotFinite(f"step {step}: {error} What the step worked on is saved in {evidence}/.") from error
    _log(progress, run, step, phase, metrics, reporter)
    start, end = training.phase_bounds()[phase - 1]
    if step in (start, end - 1):
        progress.gate_tokens += learner.shown_rollouts(step)
    progress.step, progress.seconds = step + 1, dict(learner.seconds)
    stop.after_step()
    _validate(learner, progress, phase, run, reporter, stop)


def _validate(learner: Learner, progress: Progress, phase: int, run: Any, reporter: Reporter, stop: Stop) -> None:
    """A round of validation, if one is due after ``progress.step`` updates and not yet done."""
    step, training = progress.step, learner.training
    due = step % training.validate_every == 0 or step == training.steps
    if due and not any(row["step"] == step and row["name"] == VALIDATION for row in progress.metrics):
        with stop.at_once():
            metrics = learner.validate(step)
        _log(progress, run, step, phase, metrics, reporter)
        progress.seconds = dict(learner.seconds)


def _log(progress: Progress, run: Any, step: int, phase: int, metrics: dict[str, float], reporter: Reporter) -> None:
    progress.metrics += [
        {"step": step, "phase": phase, "name": name, "value": value} for name, value in metrics.items()
    ]
    if run:
        run.log(step, metrics)
    shown = {
        "reward": "reward",
        "validation/accuracy": "accuracy",
        "loss/imitation": "nll",
        "gate/agreement": "agreement",
    }
    reporter.report(**{shown[name]: value for name, value in metrics.items() if name in shown})


def _write(folder: Path, artefact: Artefact, learner: Learner, progress: Progress) -> None:
    """The finished phase; the manifest, written last, makes it complete."""
    if first():
        clear(folder)
        folder.mkdir(parents=True)
    barrier()
    save_model(learner.model, folder / "model")
    save_adapters(learner.model, folder)
    save_optimiser(learner.optimiser, folder)
    barrier()
    if not first():
        return
    learner.pair.tokenizer.save_pretrained(folder / "model")
    write_table(folder / "metrics.parquet", rows_to_table(progress.metrics, METRICS), METRICS)
    write_table(folder / "gate_tokens.parquet", rows_to_table(progress.gate_tokens, GATE_TOKENS), GATE_TOKENS)
    atomic_write_text(folder / "seconds.json", json.dumps(progress.seconds, indent=1) + "\n")
    finish(folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats={"step": progress.step})
