"""The prompts stage: problems of every split as tables, disjoint by check, with a summary of what fell out where.

In: the study's sources. Out: train.parquet, validation.parquet, <benchmark>.parquet, summary.md. Knows no model but the
student's tokenizer, for lengths.
"""

import logging
from pathlib import Path
from typing import Any

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.errors import UserError
from sgopd.models import load_tokenizer, render_prompt
from sgopd.prompts.synthetic import Split, SyntheticSource, problems
from sgopd.records import PROMPTS
from sgopd.store import atomic_write_text, clear, finish, is_complete, rows_to_table, write_table

logger = logging.getLogger(__name__)

Rows = list[dict[str, Any]]


def prepare(study: Study, out: Path | None = None) -> Path:
    """Write one table per split; returns the folder. Raises UserError for an empty or overlapping split."""
    artefacts = Artefacts(study)
    artefact = artefacts.prompts
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete", folder)
        return folder
    splits = {"train": _load(study, "train", study.prompts.train)}
    splits["validation"] = _load(study, "validation", study.prompts.validation)
    for benchmark, source in study.prompts.benchmarks.items():
        splits[benchmark] = _load(study, "test", source, benchmark)
    loaded = {name: len(rows) for name, rows in splits.items()}
    splits["train"] = _short_enough(study, artefacts, _hard_enough(study, splits["train"]))
    _check_disjoint(splits)
    clear(folder)
    for name, rows in splits.items():
        write_table(folder / f"{name}.parquet", rows_to_table(rows, PROMPTS), PROMPTS)
    atomic_write_text(folder / "summary.md", _summary(loaded, splits))
    finish(
        folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats={n: len(rows) for n, rows in splits.items()}
    )
    return folder


def _load(study: Study, split: Split, source: SyntheticSource, name: str | None = None) -> Rows:
    try:
        chains = problems(study.seed, split, source.count, source.operations)
    except ValueError as error:
        raise UserError(
            f"prompts.{name or split}: {error}. Ask for fewer problems or a wider range of operations."
        ) from error
    return [
        {
            "prompt_id": f"{name or split}-{chain.expression}",
            "split": name or split,
            "problem": chain.problem,
            "answer": chain.answer,
            "difficulty": float(len(chain.operands)),
            "category": chain.category,
            "source": "synthetic",
        }
        for chain in chains
    ]


def _hard_enough(study: Study, rows: Rows) -> Rows:
    least = study.prompts.min_difficulty
    return [row for row in rows if least is None or row["difficulty"] >= least]


def _short_enough(study: Study, artefacts: Artefacts, rows: Rows) -> Rows:
    tokenizer = load_tokenizer(artefacts.model("student").folder)
    template, most = study.models.prompt_template, study.prompts.max_prompt_tokens
    kept = [row for row in rows if len(render_prompt(tokenizer, row["problem"], template)) <= most]
    if not kept:
        raise UserError(
            f"prompts: none of the {len(rows)} training problems is left after min_difficulty "
            f"{study.prompts.min_difficulty} and max_prompt_tokens {most}. Relax one of them."
        )
    return kept


def _check_disjoint(splits: dict[str, Rows]) -> None:
    """No problem may stand in two splits; benchmarks may share problems only with themselves."""
    owner: dict[str, str] = {}
    for name, rows in splits.items():
        for row in rows:
            other = owner.setdefault(row["problem"], name)
            if other != name:
                raise UserError(f"prompts: {row['problem']!r} is in {other} and in {name}; splits must be disjoint.")


def _summary(loaded: dict[str, int], splits: dict[str, Rows]) -> str:
    lines = ["| split | loaded | kept | flagged class | example | answer |", "|---|---|---|---|---|---|"]
    for name, rows in splits.items():
        flawed = sum(row["category"] == "flawed" for row in rows)
        example = rows[0]
        lines.append(
            f"| {name} | {loaded[name]} | {len(rows)} | {flawed} | {example['problem']} | {example['answer']} |"
        )
    return "\n".join(lines) + "\n"
