"""From loaded rows to problems worth training on, and a table of how many rows fell out where, with examples.

In: rows with the columns PROMPTS. Out: the rows that stay, and a ``Funnel``. Knows nothing of files; the tokenizer is a callable.
"""

import math
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sgopd.prompts.decontaminate import PHRASE, N, Overlap, find_overlaps, phrases, same_text_key
from sgopd.verifier import readable_gold, verify

Rows = list[dict[str, Any]]
CountTokens = Callable[[Sequence[str]], Sequence[int]]  # problems -> length of each rendered prompt in tokens
EXAMPLES = 3


@dataclass(frozen=True)
class Step:
    """One filter: how many rows fell out, how many were left, and a few of those that fell out, with why."""

    name: str
    dropped: int
    left: int
    examples: tuple[str, ...]


@dataclass
class Funnel:
    """The way of the rows of one split through the filters."""

    split: str
    loaded: int
    steps: list[Step] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)  # shared text that was not taken for copied

    def drop(self, name: str, rows: Rows, reasons: Mapping[int, str]) -> Rows:
        """Take out the rows at the indices in ``reasons`` and write down why."""
        kept = [row for i, row in enumerate(rows) if i not in reasons]
        examples = tuple(f"{_short(rows[i]['problem'])} ({why})" for i, why in list(reasons.items())[:EXAMPLES])
        self.steps.append(Step(name, len(reasons), len(kept), examples))
        return kept

    def to_markdown(self) -> str:
        """A table for a person: one line per filter, then the pairs that decontamination found."""
        lines = [f"### {self.split}", "", "| step | dropped | left | examples |", "|---|---:|---:|---|"]
        lines.append(f"| loaded | | {self.loaded} | |")
        for step in self.steps:
            examples = "<br>".join(_cell(example) for example in step.examples)
            lines.append(f"| {step.name} | {step.dropped} | {step.left} | {examples} |")
        return "\n".join([*lines, "", *self._pairs()])

    def _pairs(self) -> list[str]:
        lines = []
        if self.phrases:
            lines += [
                f"{len(self.phrases)} runs of {N} words stand in {PHRASE} or more benchmark problems and are phrases, not copies, "
                f"e.g. “{self.phrases[0]}”.",
                "",
            ]
        if not self.overlaps:
            return lines
        lines += ["| training problem | benchmark | problem there | kind | shared text |", "|---|---|---|---|---|"]
        for o in self.overlaps:
            lines.append(f"| {o.prompt_id} | {o.benchmark} | {o.benchmark_id} | {o.kind} | {_cell(_short(o.text))} |")
        return [*lines, ""]


def _short(text: str, length: int = 90) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def clean_training(
    rows: Rows,
    *,
    split: str = "train",
    min_difficulty: float | None,
    max_tokens: int | None,
    count_tokens: CountTokens | None,
    benchmarks: Mapping[str, Rows],
) -> tuple[Rows, Funnel]:
    """Every filter, cheapest first; order of rows is kept.

    ``benchmarks``: the problems that must not be trained on, by name. ``max_tokens`` needs ``count_tokens``.
    """
    funnel = Funnel(split, len(rows))
    rows = [normalised(row) for row in rows]
    rows = funnel.drop("empty problem or answer", rows, _empty(rows))
    rows = funnel.drop("same problem, another answer", rows, _contradictory(rows))
    rows = funnel.drop("duplicate", rows, _duplicates(rows))
    if min_difficulty is not None:
        rows = funnel.drop(f"difficulty unknown or below {min_difficulty:g}", rows, _too_easy(rows, min_difficulty))
    rows = funnel.drop("answer that the verifier cannot read", rows, _unreadable(rows))
    if max_tokens is not None and count_tokens is not None:
        rows = funnel.drop(f"longer than {max_tokens} tokens", rows, _too_long(rows, max_tokens, count_tokens))
    funnel.overlaps, funnel.phrases = find_overlaps(rows, benchmarks), phrases(benchmarks)
    return funnel.drop("shared with a benchmark", rows, _contaminated(rows, funnel.overlaps)), funnel


def clean_benchmark(rows: Rows, split: str) -> tuple[Rows, Funnel]:
    """A benchmark keeps its problems, so that scores compare with others'; only rows without a text fall out."""
    funnel = Funnel(split, len(rows))
    rows = [normalised(row) for row in rows]
    kept = funnel.drop("empty problem or answer", rows, _empty(rows))
    unreadable = _unreadable(kept)
    examples = tuple(f"{_short(kept[i]['problem'])} ({why})" for i, why in list(unreadable.items())[:EXAMPLES])
    funnel.steps.append(
        Step(f"kept, though the verifier reads {len(unreadable)} answers only as text", 0, len(kept), examples)
    )
    return kept, funnel


def normalised(row: Mapping[str, Any]) -> dict[str, Any]:
    """Unicode composed, ends trimmed, line ends uniform; what the problem says is left alone."""
    texts = {key: unicodedata.normalize("NFC", row[key]).replace("\r\n", "\n").strip() for key in ("problem", "answer")}
    return {**row, **texts}


def _empty(rows: Rows) -> dict[int, str]:
    return {
        i: "no problem" if not row["problem"] else "no answer"
        for i, row in enumerate(rows)
        if not row["problem"] or not row["answer"]
    }


def _contradictory(rows: Rows) -> dict[int, str]:
    """One problem with two answers: nobody knows which is right, so none is trained on. 1/2 and 0.5 are one answer."""
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        answers[same_text_key(row["problem"])].setdefault(same_text_key(row["answer"]), row["answer"])
    several = {problem: list(found.values()) for problem, found in answers.items() if len(found) > 1}
    pairs = [(problem, found[0], other) for problem, found in several.items() for other in found[1:]]
    verdicts = verify([first for _, first, _ in pairs], [rf"\boxed{{{other}}}" for *_, other in pairs])
    differ = {problem for (problem, *_), v in zip(pairs, verdicts, strict=True) if v.verdict != "correct"}
    keys = [same_text_key(row["problem"]) for row in rows]
    return {i: " / ".join(several[key]) for i, key in enumerate(keys) if key in differ}


def _duplicates(rows: Rows) -> dict[int, str]:
    first: dict[str, int] = {}
    originals = [first.setdefault(same_text_key(row["problem"]), i) for i, row in enumerate(rows)]
    return {i: f"same as {rows[original]['prompt_id']}" for i, original in enumerate(originals) if original != i}


def _too_easy(rows: Rows, least: float) -> dict[int, str]:
    found = ((i, row["difficulty"]) for i, row in enumerate(rows))
    return {i: f"difficulty {value:g}" for i, value in found if math.isnan(value) or value < least}


def _unreadable(rows: Rows) -> dict[int, str]:
    return {i: _short(row["answer"], 60) for i, row in enumerate(rows) if not readable_gold(row["answer"])}


def _too_long(rows: Rows, most: int, count_tokens: CountTokens) -> dict[int, str]:
    lengths = count_tokens([row["problem"] for row in rows])
    return {i: f"{length} tokens" for i, length in enumerate(lengths) if length > most}


def _contaminated(rows: Rows, overlaps: Sequence[Overlap]) -> dict[int, str]:
    by_prompt: dict[str, Overlap] = {}
    for overlap in overlaps:
        by_prompt.setdefault(overlap.prompt_id, overlap)
    hits = ((i, by_prompt.get(row["prompt_id"])) for i, row in enumerate(rows))
    return {i: f"{o.kind} with {o.benchmark} {o.benchmark_id}" for i, o in hits if o is not None}
