"""Reading matrices, and their sums, products and determinants, computed on the entries as formulas. Knows nothing of values."""

import re
from itertools import permutations
from typing import TYPE_CHECKING

from sgopd.verifier.leaves import names_inside
from sgopd.verifier.nodes import Node, TooLargeError, UnknownNotationError, UnreadableError

if TYPE_CHECKING:
    from sgopd.verifier.parser import Reader

MAX_SIDE = 8
MAX_DETERMINANT = 4
ENVIRONMENTS = {"pmatrix": "matrix", "bmatrix": "matrix", "matrix": "matrix", "Bmatrix": "matrix", "smallmatrix": "matrix",
            "vmatrix": "det", "array": "matrix"}  # fmt: skip
MAX_MATRICES = 3  # in one formula: entries of a product grow with every factor


def read_matrix(reader: "Reader") -> Node:
    environment = names_inside(reader)
    if environment not in ENVIRONMENTS:
        raise UnknownNotationError(f"unknown environment {environment!r}")
    if environment == "array":
        _skip_columns(reader)
    rows: list[tuple[Node, ...]] = []
    row: list[Node] = []
    while True:
        row.append(reader.read_relation())
        if reader.accept("&"):
            continue
        rows.append(tuple(row))
        row = []
        ended = not reader.accept("\\\\")
        if ended or reader.token.value == "end":
            break
    reader.expect("end")
    if names_inside(reader) != environment:
        raise UnreadableError("an environment that ends as another one")
    if len({len(r) for r in rows}) != 1:
        raise UnreadableError("rows of different length")
    return Node(ENVIRONMENTS[environment], tuple(Node("row", r) for r in rows))


def _skip_columns(reader: "Reader") -> None:
    """Skip the column specification of an array."""
    if not reader.accept("{"):
        return
    while not reader.accept("}"):
        if reader.take().kind == "end" or re.fullmatch(r"\d+", reader.token.value):
            raise UnreadableError("an array without columns")


def reduced(node: Node) -> Node:
    """``node`` with its matrix operations carried out; nodes without matrices as they are."""
    if node.op == "det":
        return _determinant(node)
    if node.op == "matrix":
        if len(node.args) > MAX_SIDE or len(node.args[0].args) > MAX_SIDE:
            raise TooLargeError("a matrix of too many rows or columns")
        return node
    if node.op not in ("add", "neg", "mul", "div") or not (count := _matrices_in(node)):
        return node
    if count > MAX_MATRICES:
        raise TooLargeError("too many matrices in one formula")
    parts = [reduced(part) for part in node.args]
    if node.op == "add":
        result = parts[0]
        for part in parts[1:]:
            result = _entrywise(result, part)
        return result
    if node.op == "neg":
        return _each(parts[0], lambda entry: Node("neg", (entry,)))
    return _product(parts[0], parts[1]) if node.op == "mul" else _quotient(parts[0], parts[1])


def _matrices_in(node: Node) -> int:
    return 1 if node.op in ("matrix", "det") else sum(map(_matrices_in, node.args))


def _each(matrix: Node, change: object) -> Node:
    assert callable(change)
    return Node("matrix", tuple(Node("row", tuple(change(entry) for entry in row.args)) for row in matrix.args))


def _entrywise(left: Node, right: Node) -> Node:
    if left.op != "matrix" or right.op != "matrix":
        return Node("add", (left, right))
    if len(left.args) != len(right.args) or len(left.args[0].args) != len(right.args[0].args):
        raise UnreadableError("a sum of matrices of different shapes")
    rows = (
        Node("row", tuple(Node("add", pair) for pair in zip(a.args, b.args, strict=True)))
        for a, b in zip(left.args, right.args, strict=True)
    )
    return Node("matrix", tuple(rows))


def _product(left: Node, right: Node) -> Node:
    if left.op != "matrix" and right.op != "matrix":
        return Node("mul", (left, right))
    if left.op != "matrix":
        return _each(right, lambda entry: Node("mul", (left, entry)))
    if right.op != "matrix":
        return _each(left, lambda entry: Node("mul", (entry, right)))
    if len(left.args[0].args) != len(right.args):
        raise UnreadableError("a product of matrices of unfit shapes")
    columns = list(zip(*(row.args for row in right.args), strict=True))
    rows = (Node("row", tuple(_dot(row.args, column) for column in columns)) for row in left.args)
    return Node("matrix", tuple(rows))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    return Node("add", tuple(Node("mul", pair) for pair in zip(row, column, strict=True)))


def _quotient(left: Node, right: Node) -> Node:
    if right.op == "matrix":
        raise UnreadableError("division by a matrix")
    return _each(left, lambda entry: Node("div", (entry, right))) if left.op == "matrix" else Node("div", (left, right))


def _determinant(node: Node) -> Node:
    size = len(node.args)
    if size > MAX_DETERMINANT or any(len(row.args) != size for row in node.args):
        raise TooLargeError("a determinant of this shape")
    terms = []
    for order in permutations(range(size)):
        factors = [row.args[column] for row, column in zip(node.args, order, strict=True)]
        term = factors[0]
        for factor in factors[1:]:
            term = Node("mul", (term, factor))
        swaps = sum(order[i] > order[j] for i in range(size) for j in range(i + 1, size))
        terms.append(Node("neg", (term,)) if swaps % 2 else term)
    return Node("add", tuple(terms))
