"""The value of a formula at a point: exact fractions as long as they stay small, else mpmath at the working precision.

In: a ``Node`` and values of its names. Raises UndefinedError where it has no value, TooLargeError beyond the bounds, so that no
formula takes long: every operation is bounded before it is done.
"""

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mp

from sgopd.verifier.nodes import Node, TooLargeError, UnreadableError

MAX_BITS = 60_000  # of an exact fraction; beyond, it is rounded to the working precision
MAX_EXPONENT = 10**7  # of an exponential or power that is computed at all
MAX_FACTORIAL = 3_000
INVISIBLE = 65  # bits at the end of the working precision in which a summand would not be compared any more

Value = Any  # Fraction | mpmath.mpf | mpmath.mpc
Point = Mapping[str, Value]


class UndefinedError(Exception):
    """No value at this point: division by zero, a pole, a name without a value."""


def value_of(node: Node, point: Point) -> Value:
    """The value of a scalar formula."""
    if node.op in _OPERATIONS:
        return _OPERATIONS[node.op](node, point)
    raise UnreadableError(f"{node.op} has no value")


def _num(node: Node, point: Point) -> Value:
    assert node.number is not None
    return node.number.value


def _sym(node: Node, point: Point) -> Value:
    return point[node.name]


def _const(node: Node, point: Point) -> Value:
    if node.name in ("pi", "e"):
        return +getattr(mp, node.name)
    if node.name == "i":
        return mpmath.mpc(0, 1)
    raise UndefinedError(node.name)


def number(value: Value) -> Value:
    """As an mpmath number of the working precision."""
    return mpmath.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def small(value: Value) -> Value:
    """An exact fraction within the bounds, or its rounded value."""
    if isinstance(value, Fraction) and value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        return number(value)
    return value


def finite(value: Value) -> Value:
    if not isinstance(value, Fraction) and not mpmath.isfinite(value):
        raise UndefinedError("infinite")
    return value


def _add(node: Node, point: Point) -> Value:
    total: Value = Fraction(0)
    for part in node.args:
        total = plus(total, value_of(part, point))
    return total


def plus(left: Value, right: Value) -> Value:
    """The sum; TooLargeError when one side is too small beside the other to be seen at the working precision."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return small(left + right)
    if left == 0 or right == 0:
        return number(right if left == 0 else left)
    left, right = number(left), number(right)
    if abs(mpmath.mag(left) - mpmath.mag(right)) > mp.prec - INVISIBLE:
        raise TooLargeError("summands of too different size")
    return left + right


def _neg(node: Node, point: Point) -> Value:
    return -value_of(node.args[0], point)


def _mul(node: Node, point: Point) -> Value:
    left, right = (value_of(a, point) for a in node.args)
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return small(left * right)
    return finite(number(left) * number(right))


def _div(node: Node, point: Point) -> Value:
    left, right = (value_of(a, point) for a in node.args)
    if right == 0:
        raise UndefinedError("division by zero")
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return small(left / right)
    return finite(number(left) / number(right))


def _pow(node: Node, point: Point) -> Value:
    if node.args[0] == Node("const", name="e"):
        return exponential(value_of(node.args[1], point))
    return power(value_of(node.args[0], point), value_of(node.args[1], point))


def power(base: Value, exponent: Value) -> Value:
    """``base ** exponent``, the principal value; bounded before it is computed."""
    if base == 0:
        if isinstance(exponent, Fraction) and exponent > 0:
            return Fraction(0)
        raise UndefinedError("zero to this power")
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size * abs(exponent) <= MAX_BITS:
            return base ** int(exponent)
    base, exponent = number(base), number(exponent)
    if abs(mpmath.mag(base)) * abs(exponent) > MAX_EXPONENT or abs(exponent) > MAX_EXPONENT:
        raise TooLargeError("a power beyond the bounds")
    return finite(mpmath.power(base, exponent))


def exponential(exponent: Value) -> Value:
    exponent = number(exponent)
    if abs(exponent) > MAX_EXPONENT:
        raise TooLargeError("an exponential beyond the bounds")
    return finite(mpmath.exp(exponent))


def _root(node: Node, point: Point) -> Value:
    """Roots of positive numbers are positive; odd roots of negative ones are real."""
    radicand, index = (value_of(a, point) for a in node.args)
    if not isinstance(index, Fraction) or index.denominator != 1 or not 1 <= index <= 1000:
        raise UndefinedError("a root of this index")
    degree = int(index)
    real = isinstance(radicand, Fraction) or mpmath.im(radicand) == 0
    if real and degree % 2 and mpmath.re(number(radicand)) < 0:
        return -power(-radicand, Fraction(1, degree))
    if isinstance(radicand, Fraction) and radicand > 0 and (exact := _exact_root(radicand, degree)) is not None:
        return exact
    return power(radicand, Fraction(1, degree))


def _exact_root(radicand: Fraction, degree: int) -> Fraction | None:
    """Kept exact where it is, so that a sum with tiny parts stays exact too."""
    if radicand.numerator.bit_length() + radicand.denominator.bit_length() > 400:
        return None
    top, bottom = (round(n ** (1 / degree)) for n in (radicand.numerator, radicand.denominator))
    return Fraction(top, bottom) if bottom and Fraction(top, bottom) ** degree == radicand else None


def _fact(node: Node, point: Point) -> Value:
    value = value_of(node.args[0], point)
    if abs(number(value)) > MAX_FACTORIAL:
        raise TooLargeError("a factorial beyond the bounds")
    if isinstance(value, Fraction) and value.denominator == 1 and value >= 0:
        return small(Fraction(int(mpmath.libmp.ifac(int(value)))))
    return gamma(plus(value, Fraction(1)))


def gamma(value: Value) -> Value:
    try:
        return finite(mpmath.gamma(number(value)))
    except ValueError as error:
        raise UndefinedError("a pole") from error


def _binom(node: Node, point: Point) -> Value:
    top, bottom = (value_of(a, point) for a in node.args)
    if max(abs(number(top)), abs(number(bottom))) > MAX_FACTORIAL:
        raise TooLargeError("a binomial coefficient beyond the bounds")
    whole = all(isinstance(v, Fraction) and v.denominator == 1 for v in (top, bottom))
    if whole and top >= 0:
        return (
            Fraction(int(mpmath.binomial(int(top), int(bottom))))
            if top < 50
            else _exact_binomial(int(top), int(bottom))
        )
    return finite(mpmath.binomial(number(top), number(bottom)))


def _exact_binomial(top: int, bottom: int) -> Fraction:
    if not 0 <= bottom <= top:
        return Fraction(0)
    value = Fraction(1)
    for i in range(min(bottom, top - bottom)):
        value = value * (top - i) / (i + 1)
    return value


def _abs(node: Node, point: Point) -> Value:
    return abs(value_of(node.args[0], point))


def _rounded(node: Node, point: Point) -> Value:
    value = value_of(node.args[0], point)
    if not isinstance(value, Fraction):
        if mpmath.im(value) != 0 or mpmath.mag(value) > mp.prec - 20:
            raise TooLargeError("rounding beyond the precision")
        value = mpmath.re(value)
        return Fraction(int(mpmath.floor(value) if node.op == "floor" else mpmath.ceil(value)))
    return Fraction(value.__floor__() if node.op == "floor" else value.__ceil__())


def _percent(node: Node, point: Point) -> Value:
    value = value_of(node.args[0], point)
    return value / 100


def _inner(node: Node, point: Point) -> Value:
    return value_of(node.args[0], point)


def _degree(node: Node, point: Point) -> Value:
    """An angle in degrees counts as its number of degrees; functions.py turns it into radians."""
    return value_of(node.args[0], point)


def _call(node: Node, point: Point) -> Value:
    """A function of which nothing is known but that it has one value for each argument: drawn by the argument's digits."""
    arguments = [mpmath.nstr(number(value_of(part, point)), 60) for part in node.args]
    draw = hashlib.sha256(f"{node.name}({arguments})".encode()).digest()
    return Fraction(int.from_bytes(draw[:4], "big") % 2600 + 389, 997)


def _fn(node: Node, point: Point) -> Value:
    from sgopd.verifier.functions import apply

    return apply(node, point)


_OPERATIONS = {
    "num": _num, "sym": _sym, "const": _const, "add": _add, "neg": _neg, "mul": _mul, "div": _div, "pow": _pow, "root": _root,
    "fact": _fact, "binom": _binom, "abs": _abs, "floor": _rounded, "ceil": _rounded, "percent": _percent, "paren": _inner,
    "unit": _inner, "degree": _degree, "fn": _fn, "call": _call,
}  # fmt: skip
