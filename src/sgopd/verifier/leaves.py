"""What is read without the grammar of formulas: numerals, subscripts and names. Functions over a ``Reader``."""

from fractions import Fraction
from typing import TYPE_CHECKING

from sgopd.verifier.nodes import Node, TooLargeError, UnreadableError, num
from sgopd.verifier.normalise import Number

if TYPE_CHECKING:
    from sgopd.verifier.parser import Reader


def literal(text: str) -> Number:
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent) > 4:
        raise TooLargeError("an exponent of too many digits")
    whole, _, part = mantissa.partition(".")
    digits = len((whole + part).lstrip("0"))
    value = Fraction(int((whole + part) or "0"), 10 ** len(part)) * Fraction(10) ** int(exponent or 0)
    return Number(value, max(0, len(part) - int(exponent or 0)) if part else 0, digits)


def num_literal(text: str) -> Node:
    return Node("num", number=literal(text))


def split_digit(reader: "Reader") -> int:
    token = reader.token
    reader.tokens[reader.at] = type(token)("num", token.value[1:])
    return int(token.value[0])


def read_repeating(reader: "Reader", text: str) -> Node:
    r"""``0.1\overline{6}``."""
    reader.take()
    reader.expect("{")
    period = reader.take().value
    reader.expect("}")
    if not period.isdigit():
        raise UnreadableError("a period that is not made of digits")
    start = literal(text)
    places = len(text.partition(".")[2])
    return num(start.value + Fraction(int(period), (10 ** len(period) - 1) * 10**places))


def read_based(reader: "Reader", digits: str) -> Node:
    """``204_5``: a numeral in base 5, never the number 204."""
    base = read_subscript(reader).strip("()")
    return (
        Node("num", number=literal(digits))
        if base == "10"
        else Node("based", name=f"{digits.lstrip('0') or '0'}_{base}")
    )


def read_subscript(reader: "Reader") -> str:
    """The text of ``_...``, which is a part of a name."""
    reader.expect("_")
    if not (reader.token.value == "{" and reader.token.kind == "mark"):
        return reader.take().value
    depth = 0
    parts: list[str] = []
    while True:
        token = reader.take()
        depth += (token.value == "{") - (token.value == "}")
        if token.kind == "end":
            raise UnreadableError("a subscript is never closed")
        if depth == 0:
            return "".join(parts[1:])
        parts.append(token.value)


def names_inside(reader: "Reader") -> str:
    r"""The text of a group of letters and digits: ``\overline{AB}``."""
    if reader.token.value != "{":
        return reader.take().value
    reader.take()
    parts = []
    while reader.token.kind in ("letter", "num", "text"):
        parts.append(reader.take().value)
    reader.expect("}")
    return "".join(parts)
