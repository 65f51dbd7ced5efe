"""What our own reading leaves open, asked of math-verify (sympy), under guards against its known false accepts and hangs.

Runs only inside a worker process: it may take long, much memory, or crash. Its own time limits are off: they need the main
thread's signals, and the pool kills. math-verify and sympy are imported by ``load``, not before: they take a second or more.
"""

import re
from typing import Any

from sgopd.verifier.cheap import Decision
from sgopd.verifier.nodes import CONSTANTS, FUNCTIONS, GREEK, RELATIONS, SET_OPERATIONS
from sgopd.verifier.normalise import clean

MAX_LENGTH = 400
OPERATORS = frozenset(
    "sum prod int frac sqrt binom dbinom tbinom cdot times div pm mp lfloor rfloor lceil rceil "
    "lvert rvert mathrm text begin end mid colon ldots dots cdots dotsc det pmod bmod mod circ prime infty left right".split()
)
KNOWN = (
    OPERATORS
    | (FUNCTIONS - {"gcd", "lcm", "max", "min"})
    | GREEK
    | frozenset(CONSTANTS)
    | frozenset(RELATIONS)
    | frozenset(SET_OPERATIONS)
)
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_LARGE = re.compile(r"\d{5,}|\^\s*\{?[^{}]*\^|\^\s*\{?\s*-?\d{4,}|!\s*!")
_UNBOUNDED = re.compile(r"\\(?:int|sum|prod)(?!\s*_)")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")


def load() -> None:
    """Import math-verify and let it build its grammar, which it does on first use."""
    _read(r"\frac{x}{2}")


def why_not(gold: str, answer: str) -> str:
    """Why math-verify shall not be asked, "" if it may: it skips what it cannot read, and computes what it should not."""
    gold, answer = clean(gold), clean(answer)
    refusal = _refusal(gold) or _refusal(answer)
    return refusal or ("" if _COMMAND.search(gold + answer) else "not a formula")


def compare_symbolically(gold: str, answer: str, why_open: str) -> Decision:
    """Both read by math-verify as formulas and found equal, or not shown to be equal."""
    from math_verify import verify

    gold, answer = clean(gold), clean(answer)
    try:
        read_gold, read_answer = _read(gold), _read(answer)
        if not read_gold or not read_answer or _symbols(read_gold) != _symbols(read_answer):
            return Decision(False, f"not readable as the same kind of formula ({why_open})")
        equal = verify(read_gold, read_answer, strict=True, timeout_seconds=None, raise_on_error=True)
    except MemoryError:
        raise
    except Exception as error:
        return Decision(False, f"the symbolic engine failed: {type(error).__name__} ({why_open})")
    return Decision(bool(equal), f"symbolic engine ({why_open})")


def _refusal(text: str) -> str:
    if len(text) > MAX_LENGTH:
        return "too long for the symbolic engine"
    if unknown := [name for name in _COMMAND.findall(text) if name not in KNOWN]:
        return f"unknown command \\{unknown[0]}"
    if _UNBOUNDED.search(text):
        return "no bounds to sum or integrate between"
    if _LARGE.search(text):
        return "numbers too large for the symbolic engine"
    if _PROSE.search(re.sub(r"\\(?:begin|end)\{\w+\}", "", text)):
        return "not a formula"
    return ""


def _read(answer: str) -> list[Any]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse
    from sympy import Basic, MatrixBase, nan, zoo

    configs = (LatexExtractionConfig(), ExprExtractionConfig())
    found = parse(
        f"\\[{answer}\\]", configs, fallback_mode="no_fallback", extraction_mode="first_match", parsing_timeout=None
    )
    expressions = [item for item in found if isinstance(item, Basic | MatrixBase)]
    return [] if any(isinstance(e, Basic) and e.has(nan, zoo) for e in expressions) else expressions


def _symbols(expressions: list[Any]) -> set[str]:
    return {symbol.name for expression in expressions for symbol in expression.free_symbols}
