"""The cache: teacher rollouts on the training prompts with their log-probs, and the verifier's verdicts on them.

Made once per (teacher, prompts, sampling) and shared by every run of every study. Rollouts are written in shards, so that a
killed stage loses at most one. Knows nothing of training.
"""

import logging
from pathlib import Path
from typing import Any

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.engines.base import Engine
from sgopd.pair import Engines, Pair, load_pair
from sgopd.progress import Reporter, track
from sgopd.prompts.render import Prompt, read_prompts
from sgopd.records import PROMPTS, ROLLOUTS, VERDICTS
from sgopd.store import Shards, clear, finish, is_complete, read_artefact, rows_to_table, stream_seed, write_table
from sgopd.training.distributed import first, share
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
    reporter = Reporter()
    for index in track(missing, "teacher rollouts, shards", len(missing), reporter):
        rows = _sample(study, engine, pair.teacher_tokenizer, chunks[index])
        if first():
            shards.write(index, rows)
        reporter.report(tokens=float(sum(len(row["response_ids"]) for row in rows)))
    if not first():
        return folder
    clear(folder)
    table = shards.concatenate(len(chunks))
    write_table(folder / "rollouts.parquet", table, ROLLOUTS)
    tokens = sum(len(ids) for ids in table["response_ids"].to_pylist())
    finish(
        folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats={"rollouts": len(table), "tokens": tokens}
    )
    Shards(artefact.partial, ROLLOUTS).remove()
    return folder


def _teacher_sampler(artefacts: Artefacts, pair: Pair) -> Engine:
    """The teacher: behind its server if the study names one, else in this process."""
    engines = Engines(artefacts, pair)
    if artefacts.study.engine.teacher.startswith("http"):
        return share(engines.teacher_scorer())
    return share(engines.sampler(artefacts.source("teacher")), engines.tensor_parallel)


def _sample(study: Study, engine: Engine, tokenizer: Any, prompts: list[Prompt]) -> list[dict[str, Any]]:
    """Rows of ROLLOUTS for these prompts; each sample's random stream is named after its prompt and index."""
    wanted = [(prompt, i) for prompt in prompts for i in range(study.rollouts.samples_per_prompt)]
    seeds = [stream_seed(study.seed, "teacher", prompt.prompt_id, i) for prompt, i in wanted]
    rollouts = engine.sample([prompt.teacher_ids for prompt, _ in wanted], study.rollouts.sampling, seeds)
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
    """The verifier's verdict on every cached teacher rollout; returns the folder."""
    artefacts = Artefacts(study)
    artefact = artefacts.verdicts
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete", folder)
        return folder
    rollouts = read_artefact(artefacts.rollouts.folder, "rollouts.parquet", ROLLOUTS).to_pylist()
    prompts = read_artefact(artefacts.prompts.folder, "train.parquet", PROMPTS).to_pylist()
    answers = {row["prompt_id"]: row["answer"] for row in prompts}
    verdicts = verify(
        [answers[row["prompt_id"]] for row in rollouts],
        [row["text"] for row in rollouts],
        [row["finish_reason"] == "length" for row in rollouts],
        VerifierOptions(**study.verifier.model_dump()),
    )
    rows = [
        {
            "prompt_id": row["prompt_id"],
            "sample_index": row["sample_index"],
            "verdict": verdict.verdict,
            "reward": float(verdict.verdict == "correct"),
            "answer": verdict.answer,
            "reason": verdict.reason,
        }
        for row, verdict in zip(rollouts, verdicts, strict=True)
    ]
    counts = {name: sum(row["verdict"] == name for row in rows) for name in sorted({row["verdict"] for row in rows})}
    logger.info("verdicts on %d teacher rollouts: %s", len(rows), counts)
    clear(folder)
    write_table(folder / "verdicts.parquet", rows_to_table(rows, VERDICTS), VERDICTS)
    finish(folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats=counts)
    return folder
