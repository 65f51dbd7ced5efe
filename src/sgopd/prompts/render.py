"""Problems as a model sees them: the study's template inside the tokenizer's chat template, as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from sgopd.artefacts import Artefacts
from sgopd.errors import UserError
from sgopd.models import render_prompt
from sgopd.pair import Pair
from sgopd.records import PROMPTS
from sgopd.store import read_table


@dataclass(frozen=True)
class Prompt:
    """One problem; ``token_ids`` under the student's chat template, ``teacher_ids`` under the teacher's.

    A model scored under another model's prompt format loses accuracy (tinker-cookbook#796); the response ids are the same.
    """

    prompt_id: str
    token_ids: list[int]
    teacher_ids: list[int]
    answer: str
    category: str
    difficulty: float


def read_prompts(artefacts: Artefacts, split: str, pair: Pair) -> list[Prompt]:
    """The problems of a split (``train``, ``validation`` or a benchmark's name), rendered for both models."""
    template = artefacts.study.models.prompt_template
    path = artefacts.prompts.checked() / f"{split}.parquet"
    rows: Sequence[dict[str, object]] = read_table(path, PROMPTS).to_pylist()
    if not rows:
        raise UserError(
            f"{path}: no problem is left. Relax prompts.min_difficulty or prompts.max_prompt_tokens, or add data."
        )
    return [
        Prompt(
            prompt_id=str(row["prompt_id"]),
            token_ids=render_prompt(pair.tokenizer, str(row["problem"]), template),
            teacher_ids=render_prompt(pair.teacher_tokenizer, str(row["problem"]), template),
            answer=str(row["answer"]),
            category=str(row["category"]),
            difficulty=float(str(row["difficulty"])),
        )
        for row in rows
    ]
