"""Whether two formulas have the same value: exactly where they are rational, else to 95 digits at several points.

Points are fixed per name, so verdicts repeat. Knows nothing of lists, sets or relations.
"""

import hashlib
from collections.abc import Iterator
from fractions import Fraction

import mpmath
from mpmath import mp

from sgopd.verifier.nodes import Node, TooLargeError
from sgopd.verifier.normalise import Number
from sgopd.verifier.numbers import ANSWER_DIGITS, GOLD_DIGITS, numbers_agree, rounds_to
from sgopd.verifier.values import Point, UndefinedError, Value, number, value_of

DIGITS = 110
AGREE = 95  # digits that two values must share to be the same
POSITIVE, MANY, WHOLE = 3, 40, 16  # points of each sort; many for formulas that differ from place to place
INTEGER_NAMES = frozenset("ijklmnpqrKMN")  # variables that formulas about whole numbers use


def walk(node: Node) -> Iterator[Node]:
    yield node
    for part in node.args:
        yield from walk(part)


def names(node: Node) -> frozenset[str]:
    """The variables of a formula."""
    return frozenset(part.name for part in walk(node) if part.op == "sym")


def same_value(gold: Node, answer: Node, decimal_places: int | None = None) -> bool:
    """Equal as functions of their variables. Positive points decide; signed ones where both values are real."""
    mp.dps = DIGITS
    gold_number, answer_number = _literal(gold), _literal(answer)
    if gold_number and answer_number:
        return numbers_agree(gold_number, answer_number, decimal_places)
    variables = sorted(names(gold) | names(answer))
    if not variables:
        return _same_constant(gold, answer, decimal_places)
    tolerance = _decimal_tolerance(gold, answer)
    count = MANY if _has_cases(gold) or _has_cases(answer) else POSITIVE
    sort = "complex" if _has_i(gold) or _has_i(answer) else "positive"
    if _agree_at(gold, answer, _points(variables, sort, count), tolerance, only_real=False):
        return _agree_at(gold, answer, _points(variables, "signed", count), tolerance, only_real=True) is not False
    if INTEGER_NAMES.issuperset(variables) and (_is_about_integers(gold) or _is_about_integers(answer)):
        return bool(_agree_at(gold, answer, _points(variables, "whole", WHOLE), tolerance, only_real=False))
    return False


def _has_cases(node: Node) -> bool:
    return any(
        part.op in ("abs", "floor", "ceil") or (part.op == "fn" and part.name in ("max", "min")) for part in walk(node)
    )


def _has_i(node: Node) -> bool:
    return any(part.op == "const" and part.name == "i" for part in walk(node))


def _literal(node: Node) -> Number | None:
    """The number that is written out, with its digits; a sign or a power of ten may stand with it."""
    if node.op in ("paren", "unit", "degree"):
        return _literal(node.args[0])
    if node.op == "num":
        return node.number
    if node.op == "neg" and (inner := _literal(node.args[0])):
        return Number(-inner.value, inner.places, inner.digits)
    return None


def _same_constant(gold: Node, answer: Node, decimal_places: int | None) -> bool:
    try:
        left, right = value_of(gold, {}), value_of(answer, {})
    except UndefinedError:
        return False
    if equal_values(left, right):
        return True
    if _vanishes(left) and _vanishes(right):
        return _still_vanish(gold, answer)
    if decimal_places is not None and (_decimals(gold) or _decimals(answer)):
        return bool(abs(number(left) - number(right)) <= mpmath.mpf(10) ** -decimal_places / 2)
    return _rounded(gold, answer, left, right)


def _rounded(gold: Node, answer: Node, left: Value, right: Value) -> bool:
    """A decimal gold stands for the exact value that it shows; so does a decimal answer of very many digits."""
    shown, exact = (gold, right) if _decimals(gold) else (answer, left)
    if _decimals(gold) and _decimals(answer):
        return False
    digits = min(_decimals(shown), default=0)
    if digits < (GOLD_DIGITS if shown is gold else ANSWER_DIGITS):
        return False
    if not isinstance(exact, Fraction) and mpmath.im(exact) != 0:
        return False
    value = _literal(shown)
    if value is not None and value.places:
        return rounds_to(_nearest_fraction(exact, value.places), value)
    return _close(left, right, digits)


def is_rounded(node: Node, shown: Number) -> bool:
    """Whether ``shown`` is the value of a constant formula, rounded or cut to the digits that it shows."""
    mp.dps = DIGITS
    try:
        value = value_of(node, {})
    except UndefinedError:
        return False
    return not _is_complex(value) and rounds_to(_nearest_fraction(value, shown.places), shown)


def _nearest_fraction(exact: Value, places: int) -> Fraction:
    scale = 10 ** (places + 9)
    return Fraction(int(mpmath.nint(mpmath.re(number(exact)) * scale)), scale)


def _close(left: Value, right: Value, digits: int) -> bool:
    return bool(abs(number(left) - number(right)) <= mpmath.mpf(10) ** (1 - digits) * abs(number(left)))


def _decimals(node: Node) -> list[int]:
    """Significant digits of every decimal in a formula."""
    return [p.number.digits for p in walk(node) if p.number is not None and p.number.places]


def _decimal_tolerance(gold: Node, answer: Node) -> int | None:
    """Digits to which a formula in variables must agree when the gold has decimals of at least 4 digits in it."""
    digits = _decimals(gold)
    return min(digits) if digits and min(digits) >= GOLD_DIGITS and not _decimals(answer) else None


def equal_values(left: Value, right: Value) -> bool:
    """Equal exactly if both are fractions, else to ``AGREE`` digits."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    left, right = number(left), number(right)
    return bool(abs(left - right) <= mpmath.mpf(10) ** -AGREE * max(abs(left), abs(right)))


def _vanishes(value: Value) -> bool:
    return bool(abs(value) < mpmath.mpf(10) ** -60) if not isinstance(value, Fraction) else value == 0


def _still_vanish(gold: Node, answer: Node) -> bool:
    """Zero, and not merely small: what is left of a cancellation shrinks with the precision, a small value stays."""
    before = [abs(number(value_of(node, {}))) for node in (gold, answer)]
    with mpmath.workdps(2 * DIGITS):
        after = [abs(number(value_of(node, {}))) for node in (gold, answer)]
    return all(new == 0 or new < old * mpmath.mpf(10) ** -80 for old, new in zip(before, after, strict=True))


def _points(variables: list[str], sort: str, count: int) -> Iterator[Point]:
    for i in range(count):
        yield {name: _coordinate(name, sort, i) for name in variables}


def _coordinate(name: str, sort: str, index: int) -> Value:
    if sort == "complex":
        return mpmath.mpc(*(number(_coordinate(name, part, index)) for part in ("positive", "signed")))
    draw = int.from_bytes(hashlib.sha256(f"{name} {sort} {index}".encode()).digest()[:4], "big")
    if sort == "whole":
        return Fraction(draw % 40 + 1)
    value = Fraction(draw % 2600 + 389, 997)
    return -value if sort == "signed" and (draw >> 16) % 3 else value


def _agree_at(gold: Node, answer: Node, points: Iterator[Point], tolerance: int | None, only_real: bool) -> bool | None:
    """False at the first point that parts them; None when neither has a value anywhere."""
    seen = None
    for point in points:
        left, right = _value_or_none(gold, point), _value_or_none(answer, point)
        if only_real and (left is None or right is None or _is_complex(left) or _is_complex(right)):
            continue
        if left is None and right is None:
            continue
        if left is None or right is None:
            return False
        if not (equal_values(left, right) or (tolerance is not None and _close(left, right, tolerance))):
            return False
        seen = True
    return seen


def _value_or_none(node: Node, point: Point) -> Value | None:
    try:
        return value_of(node, point)
    except UndefinedError:
        return None


def _is_complex(value: Value) -> bool:
    return not isinstance(value, Fraction) and abs(mpmath.im(value)) > 0


def _is_about_integers(node: Node) -> bool:
    """Contains what makes sense, or simplifies, only at whole numbers: ``(-1)^n``, ``cos(n pi)``, ``n!``, floors."""
    for part in walk(node):
        if part.op in ("fact", "binom", "floor", "ceil"):
            return True
        if part.op == "pow" and names(part.args[1]) and part.args[0].op in ("neg", "paren"):
            return True
        if part.op == "fn" and part.name in ("sin", "cos", "tan", "gcd", "lcm"):
            return any(leaf.op == "const" and leaf.name == "pi" for leaf in walk(part)) or part.name in ("gcd", "lcm")
    return False


def is_proportional(gold: Node, answer: Node) -> int:
    """The sign of the constant c with ``answer = c * gold`` as functions; 0 when there is none, or either is constant."""
    mp.dps = DIGITS
    variables = sorted(names(gold) | names(answer))
    if not names(gold) or not names(answer):
        return 0
    ratio: Value | None = None
    sorts = ("complex",) if _has_i(gold) or _has_i(answer) else ("positive", "signed")
    for point in (point for sort in sorts for point in _points(variables, sort, POSITIVE)):
        left, right = _value_or_none(gold, point), _value_or_none(answer, point)
        if left is None or right is None or (sorts[0] == "positive" and (_is_complex(left) or _is_complex(right))):
            continue
        if left == 0 or right == 0:
            return 0
        here = (
            right / left if isinstance(left, Fraction) and isinstance(right, Fraction) else number(right) / number(left)
        )
        if ratio is not None and not equal_values(ratio, here):
            return 0
        ratio = here
    return 0 if ratio is None else -1 if not _is_complex(ratio) and mpmath.re(number(ratio)) < 0 else 1


def order(node: Node) -> Value:
    """The real value of a constant, to sort by. Raises UndefinedError if it has none, TooLargeError beyond the bounds."""
    if node.op == "const" and node.name == "inf":
        return mpmath.inf
    if node.op == "neg" and node.args[0] == Node("const", name="inf"):
        return -mpmath.inf
    if names(node):
        raise UndefinedError("not a constant")
    value = value_of(node, {})
    if _is_complex(value):
        raise TooLargeError("complex numbers have no order")
    return number(value)
