"""Named functions of a formula (sin, log, max, ...) at a point. Angles in degrees become radians here."""

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath

from sgopd.verifier.nodes import Node, TooLargeError
from sgopd.verifier.values import Point, UndefinedError, Value, exponential, finite, number, value_of

MAX_ARGUMENT = 10**9  # of a trigonometric function: beyond, precision is lost

_CIRCULAR: dict[str, Callable[[Value], Value]] = {
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "cot": mpmath.cot, "sec": mpmath.sec, "csc": mpmath.csc,
}  # fmt: skip
_OTHER: dict[str, Callable[[Value], Value]] = {
    "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan, "arccot": mpmath.acot, "arcsec": mpmath.asec,
    "arccsc": mpmath.acsc, "arcsinh": mpmath.asinh, "arccosh": mpmath.acosh, "arctanh": mpmath.atanh, "sinh": mpmath.sinh,
    "cosh": mpmath.cosh, "tanh": mpmath.tanh, "coth": mpmath.coth, "Re": mpmath.re, "Im": mpmath.im, "arg": mpmath.arg,
    "sgn": mpmath.sign, "sign": mpmath.sign,
}  # fmt: skip


def apply(node: Node, point: Point) -> Value:
    """The value of a function call; ``\\log`` without a base is natural, as in the gold answers of the benchmarks."""
    if node.name in ("max", "min", "gcd", "lcm"):
        return _of_several(node, point)
    argument = node.args[0]
    if node.name in _CIRCULAR:
        radians = _radians(argument, point)
        if abs(radians) > MAX_ARGUMENT:
            raise TooLargeError("an angle beyond the bounds")
        return _safely(_CIRCULAR[node.name], radians)
    value = value_of(argument, point)
    if node.name == "exp":
        return exponential(value)
    if node.name in ("log", "ln", "lg"):
        return _logarithm(node, value, point)
    if node.name in ("sinh", "cosh", "tanh", "coth") and abs(number(value)) > 10**6:
        raise TooLargeError("a hyperbolic function beyond the bounds")
    return _safely(_OTHER[node.name], number(value))


def _radians(argument: Node, point: Point) -> Value:
    value = number(value_of(argument, point))
    return value * mpmath.pi / 180 if _in_degrees(argument) else value


def _in_degrees(node: Node) -> bool:
    return node.op == "degree" or (
        node.op in ("unit", "neg", "add", "mul", "paren") and any(map(_in_degrees, node.args))
    )


def _logarithm(node: Node, value: Value, point: Point) -> Value:
    if value == 0:
        raise UndefinedError("logarithm of zero")
    result = mpmath.log(number(value))
    base = Fraction(10) if node.name == "lg" else value_of(node.args[1], point) if len(node.args) > 1 else None
    if base is None:
        return result
    if base in (0, 1):
        raise UndefinedError("logarithm to this base")
    return finite(result / mpmath.log(number(base)))


def _of_several(node: Node, point: Point) -> Value:
    group = node.args[0]
    parts = group.args if group.op in ("seq", "set", "list") else (group,)
    values = [value_of(part, point) for part in parts]
    if not all(isinstance(v, Fraction) or mpmath.im(v) == 0 for v in values):
        raise UndefinedError("order of complex numbers")
    if node.name in ("max", "min"):
        return (max if node.name == "max" else min)(values, key=number)
    if not all(isinstance(v, Fraction) and v.denominator == 1 for v in values):
        raise UndefinedError(f"{node.name} of what is not whole")
    return Fraction((math.gcd if node.name == "gcd" else math.lcm)(*(int(v) for v in values)))


def _safely(function: Callable[[Value], Value], value: Value) -> Value:
    try:
        return finite(function(value))
    except (ValueError, ZeroDivisionError) as error:
        raise UndefinedError(str(error)) from error
