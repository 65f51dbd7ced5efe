"""Scalars with what hangs on them: units, degrees, percent. Knows nothing of lists or relations."""

from sgopd.verifier.equality import same_value, walk
from sgopd.verifier.nodes import UNITS, Node, num, unit_of

SCALAR_OPS = frozenset(
    "num sym const add neg mul div pow root fact binom abs floor ceil percent paren unit degree fn call".split()
)
NOT_NUMBERS = frozenset(("inf", "empty", "R", "Z", "Q", "N", "C"))


def is_scalar(node: Node) -> bool:
    """A formula that has one value: no list, set, relation, infinity or text anywhere in it."""
    for part in walk(node):
        if part.op in ("seq", "set", "list") and node.op != "seq":
            continue
        if part.op not in SCALAR_OPS or (part.op == "const" and part.name in NOT_NUMBERS):
            return False
    return node.op in SCALAR_OPS


def same_scalar(gold: Node, answer: Node, places: int | None) -> bool:
    """Equal values. A unit on one side only is ignored; units on both sides must agree or convert."""
    gold_value, gold_unit = _split(gold)
    answer_value, answer_unit = _split(answer)
    if gold_unit and answer_unit and gold_unit != answer_unit:
        factor = _conversion(gold_unit, answer_unit)
        if factor is None:
            return False
        answer_value = Node("mul", (answer_value, factor))
    if same_value(gold_value, answer_value, places):
        return True
    return _same_angle(gold_value, gold_unit, answer_value, answer_unit, places)


def _split(node: Node) -> tuple[Node, str]:
    """The value, and its unit ("" if it has none)."""
    if node.op == "paren":
        return _split(node.args[0])
    if node.op == "unit":
        return node.args[0], node.name
    if node.op == "degree":
        return node.args[0], unit_of("degree")
    if node.op == "neg":
        value, unit = _split(node.args[0])
        return Node("neg", (value,)), unit
    return node, ""


def _conversion(gold_unit: str, answer_unit: str) -> Node | None:
    """What to multiply a value in ``answer_unit`` by to have it in ``gold_unit``."""
    gold_name, _, gold_power = gold_unit.partition("^")
    answer_name, _, answer_power = answer_unit.partition("^")
    if gold_power != answer_power or gold_name not in UNITS or answer_name not in UNITS:
        return None
    (gold_kind, gold_factor), (answer_kind, answer_factor) = UNITS[gold_name], UNITS[answer_name]
    if gold_kind != answer_kind or len(gold_power) > 1:
        return None
    return num((answer_factor / gold_factor) ** int(gold_power or 1))


def _same_angle(gold: Node, gold_unit: str, answer: Node, answer_unit: str, places: int | None) -> bool:
    """An angle in degrees and the same one in radians, if that is written with pi."""
    if gold_unit == "degree" and not answer_unit and _has_pi(answer):
        return same_value(_radians(gold), answer, places)
    if answer_unit == "degree" and not gold_unit and _has_pi(gold):
        return same_value(gold, _radians(answer), places)
    return False


def _has_pi(node: Node) -> bool:
    return any(part.op == "const" and part.name == "pi" for part in walk(node))


def _radians(degrees: Node) -> Node:
    return Node("div", (Node("mul", (degrees, Node("const", name="pi"))), num(180)))
