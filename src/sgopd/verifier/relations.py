"""Equations and inequalities: names before "=", equations that say the same, relations against plain values.

Works on nodes and is given the function that compares two single answers.
"""

from collections.abc import Callable

from sgopd.verifier.equality import is_proportional, is_rounded, names
from sgopd.verifier.nodes import Node, UnreadableError
from sgopd.verifier.sets import FLIP

Same = Callable[[Node, Node, int | None], bool]


def is_name(node: Node) -> bool:
    """What an answer may be called: ``x``, ``f(x)``, ``AB``, ``|AB|``, ``NO/BO``, ``S:T``, ``(p, q)``; not ``2x + z``."""
    if node.op in ("sym", "text", "call"):
        return True
    if node.op in ("mul", "div", "ratio", "abs", "paren", "seq", "list"):
        return all(is_name(part) or (node.op == "mul" and _is_part_of_call(part)) for part in node.args) and bool(
            names(node)
        )
    return node.op == "fn" and is_name(node.args[0]) and node.name not in ("max", "min")


def _is_part_of_call(node: Node) -> bool:
    r"""The argument in ``f(2)``, and ``f^{-1}`` in ``f^{-1}(x)``."""
    return node.op == "paren" or (node.op == "pow" and node.args[0].op == "sym" and node.args[1].op == "neg")


def exact(node: Node) -> Node:
    r"""``\frac{1}{3} \approx 0.33`` as one third, if 0.33 is its rounded value; else "about" is read as "equals"."""
    if node.op in ("list", "set"):
        return Node(node.op, tuple(map(exact, node.args)), node.name)
    signs = node.name.split()
    if node.op != "rel" or "~" not in signs:
        return node
    parts, kept = [node.args[0]], []
    for sign, part in zip(signs, node.args[1:], strict=True):
        shown = part.number
        if sign == "~" and shown is not None and shown.places and not names(parts[-1]) and not is_name(parts[-1]):
            if not is_rounded(parts[-1], shown):
                raise UnreadableError("an approximation that is none")
            continue
        kept.append("=" if sign == "~" else sign)
        parts.append(part)
    return Node("rel", tuple(parts), " ".join(kept)) if kept else parts[0]


def is_quantity(node: Node) -> bool:
    """A name, or a sum of products of names without numbers: ``m + n``."""
    if node.op in ("add", "neg", "mul"):
        return all(is_quantity(part) for part in node.args)
    return is_name(node)


def _is_calculation(node: Node, same: Same) -> bool:
    """``2 + 2 = 4``: a formula without names and the values it takes on the way, all equal. ``4 = 4`` calculates nothing."""
    first, *others = node.args
    return (
        first.op not in ("num", "neg", "paren")
        and not names(node)
        and all(same(first, other, None) for other in others)
    )


def name_and_value(node: Node) -> tuple[Node | None, Node]:
    """``x = 5`` as its name and its value; anything else is a value without a name. Of ``x = 2 + 3 = 5`` the last counts."""
    if node.op == "rel" and set(node.name.split()) == {"="} and is_name(node.args[0]):
        return node.args[0], node.args[-1]
    if node.op == "rel" and node.name == "=" and node.args[1].op == "sym" and not names(node.args[0]):  # 5 = x
        return node.args[1], node.args[0]
    if node.op == "rel" and node.name == "in" and is_name(node.args[0]):
        return node.args[0], node.args[-1]
    return None, node


def same_relation(gold: Node, answer: Node, places: int | None, same: Same) -> bool | None:
    """For two answers of which at least one is a relation; None if they shall be compared as lists or sets."""
    if "list" in (gold.op, answer.op):
        gold_name, gold_value = name_and_value(gold)
        answer_name, answer_value = name_and_value(answer)
        one_named = (gold_name is None) != (answer_name is None)
        return (
            same(gold_value, answer_value, places) if one_named and "list" in (gold_value.op, answer_value.op) else None
        )
    if gold.op == answer.op == "rel":
        return _same_relations(gold, answer, places, same)
    if gold.op == "rel":
        name, value = name_and_value(gold)
        return name is not None and same(value, answer, places)
    name, value = name_and_value(answer)
    if (
        name is None
        and set(answer.name.split()) == {"="}
        and ((answer.args[0].op != "neg" and is_quantity(answer.args[0])) or _is_calculation(answer, same))
    ):
        return same(gold, answer.args[-1], places)
    return name is not None and not _is_turned(name) and same(gold, value, places)


def _is_turned(name: Node) -> bool:
    """``(y, x)``: a gold without names has its coordinates in the usual order."""
    parts = [part.name for part in name.args] if name.op == "seq" else []
    return bool(parts) and set(parts) <= set("xyz") and parts != sorted(parts)


def _same_relations(gold: Node, answer: Node, places: int | None, same: Same) -> bool:
    gold_name, gold_value = name_and_value(gold)
    answer_name, answer_value = name_and_value(answer)
    if _has_names_inside(gold) or _has_names_inside(answer):
        return _same_chain(gold, answer, places, same)
    if gold_name is not None and answer_name is not None:
        if same(gold_name, answer_name, places) or _both_functions(gold, answer):
            return same(gold_value, answer_value, places)
        return len(gold.args) == len(answer.args) == 2 and _same_equation(gold, answer, places, same)
    if len(gold.args) == len(answer.args) == 2:
        return _same_equation(gold, answer, places, same)
    return _same_chain(gold, answer, places, same)


def _has_names_inside(relation: Node) -> bool:
    """``x = y = 1`` says something of y too."""
    return any(part.op == "sym" for part in relation.args[1:-1])


def _both_functions(gold: Node, answer: Node) -> bool:
    """``y = 2x + 3`` and ``f(x) = 2x + 3``: the name of a function does not matter, that of a number does."""
    left, right = gold.args[0], answer.args[0]
    if "in" in (gold.name, answer.name) or not (names(gold.args[-1]) and names(answer.args[-1])):
        return False
    if left.op == right.op == "call":
        return left.args == right.args
    return {left.op, right.op} in ({"call", "sym"}, {"mul", "sym"}, {"mul"}) and (_is_call(left) or _is_call(right))


def _is_call(node: Node) -> bool:
    return node.op == "call" or (node.op == "mul" and node.args[0].op == "pow")


def _same_equation(gold: Node, answer: Node, places: int | None, same: Same) -> bool:
    """The same up to a factor (positive or, turning the sign, negative), or part by part."""
    sign = answer.name
    if gold.name == "in" or sign == "in":
        return gold.name == sign and _same_chain(gold, answer, places, same)
    try:
        factor = is_proportional(_difference(gold), _difference(answer))
    except UnreadableError:
        factor = 0
    if factor and gold.name == (sign if factor > 0 else FLIP[sign]):
        return True
    return _same_chain(gold, answer, places, same) or _same_chain(gold, _turned(answer), places, same)


def _difference(relation: Node) -> Node:
    return Node("add", (relation.args[0], Node("neg", (relation.args[1],))))


def _turned(relation: Node) -> Node:
    signs = " ".join(FLIP.get(sign, sign) for sign in reversed(relation.name.split()))
    return Node("rel", tuple(reversed(relation.args)), signs)


def _same_chain(gold: Node, answer: Node, places: int | None, same: Same) -> bool:
    if gold.name != answer.name or len(gold.args) != len(answer.args):
        return False
    return all(same(g, a, places) for g, a in zip(gold.args, answer.args, strict=True))
