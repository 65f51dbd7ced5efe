"""The evaluation stage: one model on every benchmark, n samples per problem, one row per sample.

In: a run's final model, or teacher or untrained student as reference rows. Out: evaluations.parquet. Knows no statistics.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

from sgopd import tracking
from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.engines.base import Engine
from sgopd.pair import Engines, load_pair
from sgopd.progress import Reporter, track
from sgopd.prompts.render import Prompt, read_prompts
from sgopd.records import EVALUATIONS
from sgopd.store import (
    Shards,
    atomic_write_text,
    clear,
    finish,
    is_complete,
    read_table,
    stream_seed,
    write_tables,
)
from sgopd.training.distributed import first, share
from sgopd.training.finite import check_rollouts
from sgopd.training.judge import judge
from sgopd.verifier import VerifierOptions

logger = logging.getLogger(__name__)

PROBLEMS_AT_ONCE = 256


def evaluate(study: Study, method: str, seed: int, out: Path | None = None) -> Path:
    """Evaluate ``method`` (or ``teacher`` / ``student``) at ``seed`` on every benchmark; returns the folder.

    Sample i of a problem uses the same random stream for every method, so that differences are paired.
    """
    artefacts = Artefacts(study)
    artefact = artefacts.evaluation(method, seed)
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete", folder)
        return folder
    start = time.perf_counter()
    pair = load_pair(artefacts)
    engines = Engines(artefacts, pair)
    if method in ("teacher", "student"):
        source = artefacts.source("teacher" if method == "teacher" else "student")
    else:
        source = artefacts.final_model(method, seed).checked() / "model", None
    engine = share(engines.sampler(source), engines.tensor_parallel)
    chunks = []
    for benchmark in study.prompts.benchmarks:
        prompts = read_prompts(artefacts, benchmark, pair)
        chunks += [(benchmark, prompts[i : i + PROBLEMS_AT_ONCE]) for i in range(0, len(prompts), PROBLEMS_AT_ONCE)]
    reporter, shards = Reporter(), Shards(artefact.partial, EVALUATIONS)
    missing = shards.missing(len(chunks))
    evidence = artefact.folder.parent / f"not-finite-seed{seed}"
    for i in track(missing, f"evaluate {method} seed {seed}, shards", len(missing), reporter):
        rows = _judge(study, seed, engine, pair.tokenizer, *chunks[i], method == "teacher", evidence)
        if first():
            shards.write(i, rows)
        reporter.report(accuracy=_mean(rows))
    if not first():
        return folder
    clear(folder)
    write_tables(folder / "evaluations.parquet", shards.tables(len(chunks)), EVALUATIONS)
    atomic_write_text(folder / "seconds.json", json.dumps({"evaluate": time.perf_counter() - start}) + "\n")
    rows = read_table(folder / "evaluations.parquet", EVALUATIONS).to_pylist()
    # before the manifest: a process killed between the two does this again, and no point is logged twice
    _track(artefacts, method, seed, rows, folder)
    finish(
        folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats={"accuracy": _mean(rows), "rows": len(rows)}
    )
    shards.remove()
    return folder


def _judge(
    study: Study,
    seed: int,
    engine: Engine,
    tokenizer: Any,
    benchmark: str,
    prompts: list[Prompt],
    as_teacher: bool,
    evidence: Path,
) -> list[dict[str, Any]]:
    settings = study.evaluation
    wanted = [(prompt, i) for prompt in prompts for i in range(settings.samples)]
    seeds = [stream_seed(study.seed, "evaluation", seed, benchmark, prompt.prompt_id, i) for prompt, i in wanted]
    ids = [prompt.teacher_ids if as_teacher else prompt.token_ids for prompt, _ in wanted]
    rollouts = engine.sample(ids, settings.sampling, seeds)
    check_rollouts(ids, rollouts, f"the model under evaluation (seed {seed}, {benchmark})", evidence)
    options = VerifierOptions(**study.verifier.model_dump())
    verdicts = judge([prompt for prompt, _ in wanted], rollouts, tokenizer, options)
    return [
        {
            "benchmark": benchmark,
            "prompt_id": prompt.prompt_id,
            "category": prompt.category,
            "difficulty": prompt.difficulty,
            "sample_index": i,
            "verdict": verdict.verdict,
            "reward": float(verdict.verdict == "correct"),
            "truncated": rollout.finish_reason == "length",
            "n_tokens": len(rollout.token_ids),
        }
        for (prompt, i), rollout, verdict in zip(wanted, rollouts, verdicts, strict=True)
    ]


def _mean(rows: list[dict[str, Any]]) -> float:
    return float(sum(row["reward"] for row in rows) / len(rows))


def _track(artefacts: Artefacts, method: str, seed: int, rows: list[dict[str, Any]], folder: Path) -> None:
    """The evaluation's means go to the same run as its training, at the last step."""
    study, fingerprint = artefacts.study, artefacts.final_model(method, seed).fingerprint
    metrics = {f"test/avg@{study.evaluation.samples}": _mean(rows), "test/truncated": float(_share(rows, "truncated"))}
    for benchmark in study.prompts.benchmarks:
        metrics[f"test/{benchmark}/avg@{study.evaluation.samples}"] = _mean(
            [r for r in rows if r["benchmark"] == benchmark]
        )
    training = study.runs.get(method)
    params = training.settings() if training else {}
    with tracking.run(
        study.name, tracking.method_name(method, study.point), seed, fingerprint=fingerprint, phase="evaluation",
        params=params, tags={"point": study.point},
    ) as run:  # fmt: skip
        run.log(training.steps if training else 0, metrics)
        run.artefact(folder / "evaluations.parquet")
        if training:
            run.model(
                f"{method} seed {seed}", fingerprint, artefacts.final_model(method, seed).folder / "model", made=True
            )


def _share(rows: list[dict[str, Any]], key: str) -> float:
    return sum(bool(row[key]) for row in rows) / len(rows)
