"""Sets of real numbers: intervals, unions, inequalities in one variable, brought to one sorted form and compared.

In: nodes. Out: a list of pieces, or None when an end is not a constant number. Knows nothing of text or lists of answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath

from sgopd.verifier.equality import names, order, same_value
from sgopd.verifier.nodes import Node, TooLargeError, UnreadableError, num
from sgopd.verifier.values import UndefinedError, Value, value_of

INFINITY = Node("const", name="inf")
MINUS_INFINITY = Node("neg", (INFINITY,))
FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


@dataclass(frozen=True)
class Piece:
    """An interval; a single point has ``low == high``, both closed."""

    low: Node
    high: Node
    low_open: bool
    high_open: bool


def pieces_of(node: Node) -> list[Piece] | None:
    """The set as disjoint pieces from left to right; None if it is not a set of real numbers with constant ends."""
    try:
        pieces = _collect(node)
        return None if pieces is None else _merged(pieces)
    except (UndefinedError, TooLargeError, UnreadableError):
        return None


def same_pieces(gold: list[Piece], answer: list[Piece], places: int | None) -> bool:
    return len(gold) == len(answer) and all(_same_piece(g, a, places) for g, a in zip(gold, answer, strict=True))


def _same_piece(gold: Piece, answer: Piece, places: int | None) -> bool:
    if (gold.low_open, gold.high_open) != (answer.low_open, answer.high_open):
        return False
    return _same_end(gold.low, answer.low, places) and _same_end(gold.high, answer.high, places)


def _same_end(gold: Node, answer: Node, places: int | None) -> bool:
    if INFINITY in (*gold.args, gold, *answer.args, answer):
        return bool(order(gold) == order(answer))
    return same_value(gold, answer, places)


def _collect(node: Node) -> list[Piece] | None:
    if node.op == "seq" and len(node.args) == 2:
        return [_interval(*node.args, node.name[0] == "(", node.name[1] == ")")]
    if node.op == "set":
        return [Piece(item, item, False, False) for item in node.args]
    if node.op == "const":
        return {"R": [Piece(MINUS_INFINITY, INFINITY, True, True)], "empty": []}.get(node.name)
    if node.op == "rel":
        return solve(node)
    if node.op == "list" and node.name in ("or", "and") and all(item.op == "rel" for item in node.args):
        return _combine([_collect(item) for item in node.args], _union if node.name == "or" else _intersect)
    if node.op in ("cup", "cap", "minus"):
        operation = {"cup": _union, "cap": _intersect, "minus": _without}[node.op]
        return _combine([_collect(part) for part in node.args], operation)
    return None


def _interval(low: Node, high: Node, low_open: bool, high_open: bool) -> Piece:
    if order(low) > order(high) or (order(low) == order(high) and (low_open or high_open)):
        raise UnreadableError("a pair that is no interval")
    return Piece(low, high, low_open or low == MINUS_INFINITY, high_open or high == INFINITY)


def _combine(
    parts: list[list[Piece] | None], operation: Callable[[list[Piece], list[Piece]], list[Piece]]
) -> list[Piece] | None:
    result, *rest = parts
    for part in rest:
        if result is None or part is None:
            return None
        result = operation(result, part)
    return result


def _union(left: list[Piece], right: list[Piece]) -> list[Piece]:
    return _merged(left + right)


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Sorted, with pieces that touch or overlap joined."""
    done: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (order(p.low), p.low_open)):
        if done and _touch(done[-1], piece):
            done[-1] = _joined(done[-1], piece)
        elif order(piece.low) < order(piece.high) or not (piece.low_open or piece.high_open):
            done.append(piece)
    return done


def _touch(first: Piece, second: Piece) -> bool:
    if order(second.low) == order(first.high):
        return not (first.high_open and second.low_open)
    return bool(order(second.low) < order(first.high))


def _joined(first: Piece, second: Piece) -> Piece:
    difference = order(second.high) - order(first.high) if order(second.high) != order(first.high) else 0
    if difference > 0:
        return Piece(first.low, second.high, first.low_open, second.high_open)
    both_open = first.high_open and (second.high_open or difference < 0)
    return Piece(first.low, first.high, first.low_open, both_open)


def _intersect(left: list[Piece], right: list[Piece]) -> list[Piece]:
    found = []
    for a in left:
        for b in right:
            low = max((a, b), key=lambda p: (order(p.low), p.low_open))
            high = min((a, b), key=lambda p: (order(p.high), not p.high_open))
            if order(low.low) <= order(high.high):
                found.append(Piece(low.low, high.high, low.low_open, high.high_open))
    return _merged(found)


def _without(left: list[Piece], right: list[Piece]) -> list[Piece]:
    complement, low, low_open = [], MINUS_INFINITY, True
    for piece in _merged(right):
        complement.append(Piece(low, piece.low, low_open, not piece.low_open))
        low, low_open = piece.high, not piece.high_open
    complement.append(Piece(low, INFINITY, low_open, True))
    return _intersect(left, [p for p in complement if p.low != p.high])


def solve(node: Node) -> list[Piece] | None:
    """``x < 3``, ``-2 <= x <= 7``, ``1 <= |z|``, ``x in [0, 1)``, ``x != 3`` as sets of the values of their variable."""
    signs = node.name.split()
    if signs == ["in"]:
        return _collect(node.args[1]) if node.args[0].op == "sym" else None
    result: list[Piece] | None = None
    for left, sign, right in zip(node.args, signs, node.args[1:], strict=False):
        part = _solve_one(left, sign, right)
        if part is None:
            return None
        result = part if result is None else _intersect(result, part)
    return result


def _solve_one(left: Node, sign: str, right: Node) -> list[Piece] | None:
    if len(names(left) | names(right)) != 1 or sign not in FLIP or sign == "=":
        return None
    if names(left) and names(right):
        left, right = Node("add", (left, Node("neg", (right,)))), num(0)
    if names(right):
        left, right, sign = right, left, FLIP[sign]
    if left.op == "abs" and left.args[0].op == "sym":
        return _solve_absolute(sign, right)
    solved = _solve_linear(left, right)
    if solved is None:
        return None
    bound, rising = solved
    return _half_line(sign if rising else FLIP[sign], bound)


def _solve_linear(left: Node, right: Node) -> tuple[Node, bool] | None:
    """The solution of ``left = right`` with ``left`` linear in its one variable, and whether it rises."""
    if left.op == "sym":
        return right, True
    (name,) = names(left)
    at: list[Value] = [value_of(left, {name: Fraction(x)}) for x in (0, 1, 2, 5)]
    if not all(isinstance(value, Fraction) for value in at):
        return None
    slope = at[1] - at[0]
    if slope == 0 or at[2] - at[0] != 2 * slope or at[3] - at[0] != 5 * slope:
        return None
    shifted = Node("add", (right, num(-at[0])))
    return Node("div", (shifted, num(slope))), bool(slope > 0)


def _half_line(sign: str, bound: Node) -> list[Piece]:
    below = Piece(MINUS_INFINITY, bound, True, sign in ("<", "!="))
    above = Piece(bound, INFINITY, sign in (">", "!="), True)
    return {"<": [below], "<=": [below], ">": [above], ">=": [above], "!=": [below, above]}[sign]


def _solve_absolute(sign: str, bound: Node) -> list[Piece] | None:
    size: Any = order(bound)
    if not mpmath.isfinite(size) or size < 0:
        return None
    opposite = Node("neg", (bound,))
    if sign in ("<", "<="):
        return [Piece(opposite, bound, sign == "<", sign == "<")]
    return (
        _half_line({">": "<", ">=": "<="}.get(sign, sign), opposite) + _half_line(sign, bound)
        if sign in (">", ">=")
        else None
    )
