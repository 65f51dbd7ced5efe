"""The cache: teacher rollouts on the training prompts with their log-probs, and the verifier's verdicts on them.

Made once per (teacher, prompts, sampling) and shared by every run of every study. Rollouts are written in shards, so that a
killed stage loses at most one. Knows nothing of training.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.engines.base import Engine
from sgopd.pair import Engines, Pair, load_pair
from sgopd.progress import Reporter, track
from sgopd.prompts.render import Prompt, read_prompts
from sgopd.records import PROMPTS, ROLLOUTS, VERDICTS
from sgopd.store import (
    ROWS_AT_ONCE,
    Shards,
    clear,
    finish,
    is_complete,
    iterate_table,
    read_manifest,
    read_table,
    stream_seed,
    write_tables,
)
from sgopd.training.distributed import first, share
from sgopd.training.finite import check_rollouts
from sgopd.verifier import VerifierOptions, verify

logger = logging.getLogger(__name__)


def sample_teacher(study: Study, out: Path | None = None) -> Path:
    """The rollout cache of the study's teacher; returns its folder. Goes on after the last whole shard."""
    artefacts = Artefacts(study)
    artefact = artefacts.rollouts
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete", folder)
        return folder
    pair = load_pair(artefacts)
    engine = _teacher_sampler(artefacts, pair)
    prompts = read_prompts(artefacts, "train", pair)
    size = study.rollouts.shard_prompts
    chunks = [prompts[i : i + size] for i in range(0, len(prompts), size)]
    shards = Shards(artefact.partial / f"shards-of-{size}", ROLLOUTS)
    missing = shards.missing(len(chunks))
    evidence = artefact.folder.parent / f"not-finite-{artefact.fingerprint}"
    reporter = Reporter()
    for index in track(missing, "teacher rollouts, shards", len(missing), reporter):
        rows = _sample(study, engine, pair.teacher_tokenizer, chunks[index], evidence)
        if first():
            shards.write(index, rows)
        reporter.report(tokens=float(sum(len(row["response_ids"]) for row in rows)))
    if not first():
        return folder
    clear(folder)
    write_tables(folder / "rollouts.parquet", shards.tables(len(chunks)), ROLLOUTS)
    counts = {"rollouts": 0, "tokens": 0}
    for table in iterate_table(folder / "rollouts.parquet", ROLLOUTS):
        counts["rollouts"] += len(table)
        counts["tokens"] += len(table["response_ids"].combine_chunks().flatten())
    finish(folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats=counts)
    Shards(artefact.partial, ROLLOUTS).remove()
    return folder


def _teacher_sampler(artefacts: Artefacts, pair: Pair) -> Engine:
    """The teacher: behind its server if the study names one, else in this process."""
    engines = Engines(artefacts, pair)
    if artefacts.study.engine.teacher.startswith("http"):
        return share(engines.teacher_scorer())
    return share(engines.sampler(artefacts.source("teacher")), engines.tensor_parallel)


def _sample(
    study: Study, engine: Engine, tokenizer: Any, prompts: list[Prompt], evidence: Path
) -> list[dict[str, Any]]:
    """Rows of ROLLOUTS for these prompts; each sample's random stream is named after its prompt and index."""
    wanted = [(prompt, i) for prompt in prompts for i in range(study.rollouts.samples_per_prompt)]
    seeds = [stream_seed(study.seed, "teacher", prompt.prompt_id, i) for prompt, i in wanted]
    asked = [prompt.teacher_ids for prompt, _ in wanted]
    rollouts = engine.sample(asked, study.rollouts.sampling, seeds)
    check_rollouts(asked, rollouts, "the teacher", evidence)
    texts = tokenizer.batch_decode([rollout.token_ids for rollout in rollouts], skip_special_tokens=True)
    return [
        {
            "prompt_id": prompt.prompt_id,
            "sample_index": i,
            "response_ids": rollout.token_ids,
            "logprobs": rollout.logprobs,
            "finish_reason": rollout.finish_reason,
            "text": text,
        }
        for (prompt, i), rollout, text in zip(wanted, rollouts, texts, strict=True)
    ]


def judge_teacher(study: Study, out: Path | None = None) -> Path:
    """The verifier's verdict on every cached teacher rollout; returns the folder. Goes on after the last whole shard."""
    artefacts = Artefacts(study)
    artefact = artefacts.verdicts
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete", folder)
        return folder
    count = read_manifest(artefacts.rollouts.checked()).stats["rollouts"]
    prompts = read_table(artefacts.prompts.checked() / "train.parquet", PROMPTS)
    answers = dict(zip(prompts["prompt_id"].to_pylist(), prompts["answer"].to_pylist(), strict=True))
    shards = Shards(artefact.partial, VERDICTS)
    total = -(-count // ROWS_AT_ONCE)
    missing = set(shards.missing(total))
    parts = iterate_table(artefacts.rollouts.checked() / "rollouts.parquet", ROLLOUTS)
    todo = ((index, part) for index, part in enumerate(parts) if index in missing)
    for index, part in track(todo, "verdicts, shards", len(missing)):
        shards.write(index, _verdicts(study, part, answers))
    clear(folder)
    write_tables(folder / "verdicts.parquet", shards.tables(total), VERDICTS)
    verdicts: Counter[str] = Counter()
    for table in iterate_table(folder / "verdicts.parquet", VERDICTS):
        verdicts.update(table["verdict"].to_pylist())
    counts = dict(sorted(verdicts.items()))
    logger.info("verdicts on %d teacher rollouts: %s", count, counts)
    finish(folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats=counts)
    shards.remove()
    return folder


def _verdicts(study: Study, rollouts: pa.Table, answers: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of VERDICTS for these rollouts, in their order."""
    columns = {name: rollouts[name].to_pylist() for name in ("prompt_id", "sample_index", "text", "finish_reason")}
    verdicts = verify(
        [answers[prompt_id] for prompt_id in columns["prompt_id"]],
        columns["text"],
        [reason == "length" for reason in columns["finish_reason"]],
        VerifierOptions(**study.verifier.model_dump()),
    )
    return [
        {
            "prompt_id": prompt_id,
            "sample_index": sample_index,
            "verdict": verdict.verdict,
            "reward": float(verdict.verdict == "correct"),
            "answer": verdict.answer,
            "reason": verdict.reason,
        }
        for prompt_id, sample_index, verdict in zip(
            columns["prompt_id"], columns["sample_index"], verdicts, strict=True
        )
    ]
