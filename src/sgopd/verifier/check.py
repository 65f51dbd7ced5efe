"""``sgopd check``: a JSONL file of cases in, a JSONL file of verdicts out, line by line in the same order.

A case has ``gold`` and ``response``, and may have ``id``, ``truncated`` and ``options`` of its own. The output is written whole or
not at all. Knows nothing of how answers are compared.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sgopd.errors import UserError
from sgopd.verifier.judge import verify
from sgopd.verifier.types import Verdict, VerifierOptions

log = logging.getLogger(__name__)
CHUNK = 4_096  # cases in memory at a time
POLICIES = ("extract", "decimal_places")
SUITE_KEYS = ("match_types", "precision", "allow_set_relation_comp")  # of suites written for math-verify


@dataclass(frozen=True)
class Case:
    """One line of the input. ``options`` are those of the call with what the line changes."""

    id: Any
    gold: str
    response: str
    truncated: bool
    options: VerifierOptions


def check_file(cases_path: Path, out_path: Path, options: VerifierOptions | None = None) -> list[Verdict]:
    """Judge every case of a JSONL file; one line each with id, verdict, answer, reason and seconds.

    Raises UserError, naming file, line and key, for a line that is no case.
    """
    from sgopd.store import atomic_path  # here: it brings pyarrow along, which no worker process needs

    options = options or VerifierOptions(extract="stated")
    verdicts: list[Verdict] = []
    with atomic_path(Path(out_path)) as temporary, temporary.open("w", encoding="utf-8") as out:
        cases = _read(Path(cases_path), options)
        while chunk := list(islice(cases, CHUNK)):
            for case, verdict in zip(chunk, _judge(chunk), strict=True):
                out.write(_line(case, verdict))
                verdicts.append(verdict)
    return verdicts


def _judge(cases: list[Case]) -> list[Verdict]:
    """Cases that share options go to the workers together."""
    verdicts: dict[int, Verdict] = {}
    for options in dict.fromkeys(case.options for case in cases):
        members = [i for i, case in enumerate(cases) if case.options == options]
        found = verify(
            [cases[i].gold for i in members],
            [cases[i].response for i in members],
            [cases[i].truncated for i in members],
            options,
        )
        verdicts.update(zip(members, found, strict=True))
    return [verdicts[i] for i in range(len(cases))]


def _line(case: Case, verdict: Verdict) -> str:
    content = {"id": case.id, "verdict": verdict.verdict, "answer": verdict.answer, "reason": verdict.reason}
    return json.dumps(content | {"seconds": round(verdict.seconds, 6)}) + "\n"


def _read(path: Path, options: VerifierOptions) -> Iterator[Case]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a JSONL file with gold and response on each line")
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _case(line, f"{path}, line {number}", options, number)


def _case(line: str, where: str, options: VerifierOptions, number: int) -> Case:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: a JSON object with gold and response is needed, not {type(row).__name__}")
    gold, response = (_text(row, key, where) for key in ("gold", "response"))
    if row.get("kind") == "pair":  # a response that is nothing but the answer, as in suites of answer pairs
        response = response if r"\boxed" in response else rf"\boxed{{{response}}}"
    changed = _options(row.get("options") or {}, options, where)
    return Case(row.get("id", number), gold, response, bool(row.get("truncated")), changed)


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    """A missing key is an error; null is an empty text, which gets a verdict of its own; other values as JSON writes them."""
    if key not in row:
        raise UserError(f"{where}: no {key!r}; a case needs gold and response")
    value = row[key]
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _options(row: Mapping[str, Any], options: VerifierOptions, where: str) -> VerifierOptions:
    """The policies that a line sets for itself. ``precision`` of a math-verify suite is the number of decimal places.

    Other suites' settings are ignored with a warning: their files shall run as they are.
    """
    if not isinstance(row, Mapping):
        raise UserError(f'{where}: options must be an object such as {{"extract": "boxed"}}, not {row!r}')
    if unknown := sorted(set(row) - {*POLICIES, *SUITE_KEYS}):
        log.warning("%s: options %s are not known here and ignored; known are %s", where, unknown, ", ".join(POLICIES))
    changes = {key: row[key] for key in POLICIES if key in row}
    if "precision" in row:
        changes["decimal_places"] = row["precision"]
    if "expr" in row.get("match_types", ()) and options.extract == "stated":
        changes.setdefault("extract", "guess")  # "expr" there means: a plain number in the text will do
    try:
        return replace(options, **changes)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: options: {error}") from error
