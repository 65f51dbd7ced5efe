"""The exact paths that need no worker process: same text, written-out numbers, plain arithmetic.

In: gold and answer as text. Out: a decision, or None when it takes a reading of the mathematics. Linear time.
"""

import re
from dataclasses import dataclass

from sgopd.verifier.extract import extract
from sgopd.verifier.normalise import MAX_ANSWER, clean, read_number, squeeze
from sgopd.verifier.numbers import numbers_agree

_ARITHMETIC = re.compile(r"[0-9+\-*/=()., ]*")
_PROSE = re.compile(r"(?:[A-Za-z]{2,}[ ,]+){4}")


@dataclass(frozen=True)
class Decision:
    """``equal`` is None where it could not be decided."""

    equal: bool | None
    reason: str


def decide(gold: str, answer: str, decimal_places: int | None = None) -> Decision | None:
    """Decide what needs no algebra. ``gold`` and ``answer`` are answers, not responses."""
    if len(gold) > MAX_ANSWER or len(answer) > MAX_ANSWER:
        return Decision(_same_long_text(gold, answer), "compared as text: too long to be read")
    plain_gold, plain_answer = clean(gold), clean(answer)
    if not plain_answer:
        return Decision(False, "the answer is empty")
    if squeeze(plain_gold) == squeeze(plain_answer) and r"\unreadable" not in plain_answer:
        return Decision(True, "same text")
    gold_number, answer_number = read_number(plain_gold), read_number(plain_answer)
    if gold_number and answer_number:
        return Decision(numbers_agree(gold_number, answer_number, decimal_places), "compared as numbers")
    if gold_number and _ARITHMETIC.fullmatch(plain_answer):
        from sgopd.verifier.compare import compare  # here: not needed by answers that are numbers

        return compare(plain_gold, plain_answer, decimal_places)
    return None


def gold_answer(gold: str) -> str:
    """The answer in a gold that is a whole solution or sentence; other golds as they are."""
    if r"\boxed" in gold or r"\fbox" in gold:
        found = extract(gold, "boxed")
        return gold if found.answer is None else found.answer + r"\%" * found.percent
    if _PROSE.search(gold):
        return extract(gold, "guess").answer or gold
    return gold


def _same_long_text(gold: str, answer: str) -> bool:
    def strip(text: str) -> str:
        return "".join(text.split()).strip("$.")

    return strip(gold) == strip(answer)
