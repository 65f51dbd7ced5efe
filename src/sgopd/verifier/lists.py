"""Answers of several parts: lists in any order, lists of named values, plus-minus as two answers.

Works on nodes and is given the function that compares two single answers. Knows nothing of their values.
"""

from collections.abc import Callable

from sgopd.verifier.nodes import Node, TooLargeError, UnreadableError
from sgopd.verifier.relations import name_and_value

Same = Callable[[Node, Node, int | None], bool]
MAX_ITEMS = 64


def spread(node: Node) -> Node:
    r"""``1 \pm x`` as the list ``1+x, 1-x``, also inside a list or behind ``x =``; the signs of one answer go together."""
    if node.op in ("list", "set"):
        items = tuple(two for item in node.args for two in _branches(item))
        return node if items == node.args else Node(node.op, items, node.name)
    if node.op in ("seq", "matrix", "cup", "cap", "minus", "interval"):
        return node
    branches = _branches(node)
    return node if len(branches) == 1 else Node("list", branches, ",")


def _branches(node: Node) -> tuple[Node, ...]:
    if not _holds_sign(node):
        return (node,)
    return _with_sign(node, "+"), _with_sign(node, "-")


def _holds_sign(node: Node) -> bool:
    return node.op == "pm" or any(_holds_sign(part) for part in node.args)


def _with_sign(node: Node, sign: str) -> Node:
    parts = tuple(_with_sign(part, sign) for part in node.args)
    if node.op == "pm":
        return parts[0] if (sign == "+") == (node.name == "pm") else Node("neg", parts)
    return Node(node.op, parts, node.name, node.number)


def grouped(node: Node) -> Node:
    """``x=1, y=2; x=2, y=1`` as the pairs (1, 2) and (2, 1), the names in alphabetical order."""
    pairs = [name_and_value(item) for item in node.args] if node.op == "list" else []
    found = [name.name if name is not None and name.op == "sym" else "" for name, _ in pairs]
    size = len(set(found))
    if size < 2 or size == len(found) or "" in found or len(found) % size:
        return node
    rows = [
        dict(zip(found[i : i + size], (v for _, v in pairs[i : i + size]), strict=True))
        for i in range(0, len(found), size)
    ]
    if any(len(row) < size for row in rows):
        return node
    return Node("list", tuple(Node("seq", tuple(row[name] for name in sorted(row)), "()") for row in rows), node.name)


def same_list(gold: Node, answer: Node, places: int | None, same: Same) -> bool:
    """Lists and sets agree in any order; a list and a tuple agree in order; repeated items count once among several."""
    if gold.op == "seq" or answer.op == "seq":
        return _same_as_tuple(gold, answer, places, same)
    gold_items, answer_items = _items(gold), _items(answer)
    if max(len(gold_items), len(answer_items)) > MAX_ITEMS:
        raise TooLargeError("a list of too many items")
    if len(gold_items) != len(answer_items) and (
        "set" in (gold.op, answer.op)
        or min(len(gold_items), len(answer_items)) > 1
        or (answer.op == "list" and answer.name == "or")  # 1/2 or 0.5
    ):
        gold_items, answer_items = _distinct(gold_items, same), _distinct(answer_items, same)
    if len(gold_items) != len(answer_items):
        return False
    named = _same_named(gold_items, answer_items, places, same)
    return _same_in_any_order(gold_items, answer_items, places, same) if named is None else named


def _same_as_tuple(gold: Node, answer: Node, places: int | None, same: Same) -> bool:
    if "set" in (gold.op, answer.op):
        return False
    sequence, other = (gold, answer) if gold.op == "seq" else (answer, gold)
    if sequence.name != "()" or other.op != "list" or len(sequence.args) != len(other.args):
        return False
    values = [value for _, value in map(name_and_value, other.args)]
    pairs = zip(sequence.args, values, strict=True)
    return all(same(s, o, places) if sequence is gold else same(o, s, places) for s, o in pairs)


def _items(node: Node) -> list[Node]:
    """The parts; ``a = 4, -8, -10`` names each of its values."""
    items = list(node.args) if node.op in ("list", "set") else [node]
    flat = [part for item in items for part in (item.args if item.op == "list" else (item,))]
    return flat


def _distinct(items: list[Node], same: Same) -> list[Node]:
    kept: list[Node] = []
    for item in items:
        if not any(_same_or_unknown(item, other, same) for other in kept):
            kept.append(item)
    return kept


def _same_or_unknown(left: Node, right: Node, same: Same) -> bool:
    try:
        return left == right or same(left, right, None)
    except (UnreadableError, TooLargeError):
        return False


def _same_named(gold: list[Node], answer: list[Node], places: int | None, same: Same) -> bool | None:
    """``AB=4, CD=5`` against ``4, 5``: without the names the order decides, unless one name stands for all values."""
    gold_pairs, answer_pairs = [name_and_value(g) for g in gold], [name_and_value(a) for a in answer]
    gold_names, answer_names = {n for n, _ in gold_pairs}, {n for n, _ in answer_pairs}
    if (None in gold_names) == (None in answer_names):
        return None
    values = [v for _, v in gold_pairs], [v for _, v in answer_pairs]
    stems = {n.name.partition("_")[0] if n.op == "sym" else n for n in (gold_names | answer_names) - {None} if n}
    if len(stems) == 1:
        return _same_in_any_order(*values, places, same)
    return all(same(g, a, places) for g, a in zip(*values, strict=True))


def _same_in_any_order(gold: list[Node], answer: list[Node], places: int | None, same: Same) -> bool:
    """A one-to-one match. Equality is an equivalence here, so the first partner that fits will do."""
    left = list(answer)
    for item in gold:
        partner = next((other for other in left if same(item, other, places)), None)
        if partner is None:
            return False
        left.remove(partner)
    return not left
