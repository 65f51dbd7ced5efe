"""The prompts stage: cleaned problems of every split as tables, and a summary of how many rows fell out where.

In: the study's sources. Out: train.parquet, validation.parquet, <benchmark>.parquet, summary.md. Training problems that share
text with validation or a benchmark are dropped and listed. Knows no model but the student's tokenizer, for lengths.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.errors import UserError
from sgopd.models import check_compatible, load_tokenizer, render_prompt
from sgopd.prompts.filters import Funnel, clean_benchmark, clean_training
from sgopd.prompts.sources import FileSource, HubSource, Rows, load_source
from sgopd.prompts.synthetic import Split, SyntheticSource, problems
from sgopd.records import PROMPTS
from sgopd.store import atomic_write_text, clear, finish, is_complete, rows_to_table, write_table

logger = logging.getLogger(__name__)


def prepare(study: Study, out: Path | None = None) -> Path:
    """Write one table per split; returns the folder. Raises UserError for an empty split."""
    artefacts = Artefacts(study)
    artefact = artefacts.prompts
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete", folder)
        return folder
    splits, funnels = _clean(study, artefacts)
    for name, rows in splits.items():
        if not rows:
            funnel = next(funnel for funnel in funnels if funnel.split == name)
            raise UserError(f"prompts.{name}: no problem is left.\n{funnel.to_markdown()}")
        logger.info("%s: %d problems", name, len(rows))
    clear(folder)
    for name, rows in splits.items():
        write_table(folder / f"{name}.parquet", rows_to_table(rows, PROMPTS), PROMPTS)
    atomic_write_text(folder / "summary.md", "\n".join(funnel.to_markdown() for funnel in funnels))
    counts = {name: len(rows) for name, rows in splits.items()}
    finish(folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats=counts)
    return folder


def _clean(study: Study, artefacts: Artefacts) -> tuple[dict[str, Rows], list[Funnel]]:
    """Rows of every split, training first, and their ways through the filters."""
    held_out: dict[str, Rows] = {}
    funnels = []
    for name, source in study.prompts.benchmarks.items():
        held_out[name], funnel = clean_benchmark(_load(study, "test", name, source), name)
        funnels.append(funnel)
    validation, funnel = clean_training(
        _load(study, "validation", "validation", study.prompts.validation), split="validation",
        min_difficulty=None, max_tokens=None, count_tokens=None, benchmarks=held_out,
    )  # fmt: skip
    funnels.insert(0, funnel)
    held_out = {"validation": validation} | held_out
    tokenizer = load_tokenizer(*artefacts.source("student"))
    if not artefacts.trains("teacher"):  # a pair that does not fit must stop here, before any model has worked
        check_compatible(tokenizer, load_tokenizer(*artefacts.source("teacher")))

    def count_tokens(texts: Sequence[str]) -> list[int]:
        return [len(render_prompt(tokenizer, text, study.models.prompt_template)) for text in texts]

    train, funnel = clean_training(
        _load(study, "train", "train", study.prompts.train), min_difficulty=study.prompts.min_difficulty,
        max_tokens=study.prompts.max_prompt_tokens, count_tokens=count_tokens, benchmarks=held_out,
    )  # fmt: skip
    return {"train": train} | held_out, [funnel, *funnels]


def _load(study: Study, split: Split, name: str, source: SyntheticSource | FileSource | HubSource) -> Rows:
    """Rows of a source; synthetic problems are made on the spot, from the split that keeps them disjoint."""
    if not isinstance(source, SyntheticSource):
        return load_source(source, name)
    try:
        chains = problems(study.seed, split, source.count, source.operations)
    except ValueError as error:
        raise UserError(f"prompts.{name}: {error}. Ask for fewer problems or a wider range of operations.") from error
    return [
        {
            "prompt_id": f"{name}-{chain.expression}",
            "split": name,
            "problem": chain.problem,
            "answer": chain.answer,
            "difficulty": float(len(chain.operands)),
            "category": chain.category,
            "source": "synthetic",
        }
        for chain in chains
    ]
