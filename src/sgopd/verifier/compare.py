"""Whether two answers are the same: readings of the text, then structure, then value. docs/verifier.md lists the policies.

In: gold and answer as text. Out: a ``Decision``; ``equal`` is None when the notation is not known here. Always bounded.
"""

import re
from functools import reduce
from itertools import combinations

from sgopd.verifier import matrices, words
from sgopd.verifier.cheap import Decision
from sgopd.verifier.equality import names
from sgopd.verifier.lexer import has_grouped_digits
from sgopd.verifier.lists import grouped, same_list, spread
from sgopd.verifier.nodes import Node, TooLargeError, UnknownNotationError, UnreadableError
from sgopd.verifier.normalise import clean, read_decimal_comma, read_number, squeeze
from sgopd.verifier.numbers import numbers_agree
from sgopd.verifier.parser import parse
from sgopd.verifier.relations import exact, same_relation
from sgopd.verifier.scalars import is_scalar, same_scalar
from sgopd.verifier.sets import pieces_of, same_pieces
from sgopd.verifier.values import UndefinedError

_DOLLARS = re.compile(r"\\\$\s*(\d+(?:,\d{3})*(?:\.\d+)?)(?!\s*\\(?:text|mathrm))")
_EVENT = re.compile(r"(?:\\?Pr?|\\Pr|\\mathbb ?\{[PE]\}|E|Var)\s*[(\[][^=]{1,80}[)\]]\s*=\s*(?=[^=]+$)")
SET_OPS = ("seq", "set", "cup", "cap", "minus", "rel", "list")


def compare(gold: str, answer: str, decimal_places: int | None = None) -> Decision:
    """Compare two answers by what they mean. Raises nothing but MemoryError."""
    gold, answer = _without_event(clean(_dollars(gold)), clean(_dollars(answer)))
    picked = words.choice(gold, answer)
    if picked is not None:
        return Decision(picked, "multiple-choice letter")
    if words.same_words(gold, answer):
        return Decision(True, "same words")
    comma = read_decimal_comma(answer) or read_decimal_comma(gold)
    if comma and (other := read_number(gold) or read_number(answer)):
        return Decision(numbers_agree(other, comma), "decimal comma")
    try:
        return _compare_readings(gold, answer, decimal_places)
    except UnknownNotationError as error:
        return Decision(None, str(error))
    except UnreadableError as error:
        return Decision(False, f"not readable: {error}")
    except (TooLargeError, RecursionError, OverflowError, ZeroDivisionError) as error:
        return Decision(False, f"not computed: {error or 'too large'}")


def _without_event(gold: str, answer: str) -> tuple[str, str]:
    """``P(X > 1) = 0.3`` as 0.3 where the other answer is no equation, or says it of the same."""
    ours, theirs = _EVENT.match(gold), _EVENT.match(answer)
    if ours and theirs:
        same_event = squeeze(ours.group()) == squeeze(theirs.group())
        return (gold[ours.end() :], answer[theirs.end() :]) if same_event else (gold, answer)
    if ours and "=" not in answer:
        return gold[ours.end() :], answer
    return (gold, answer[theirs.end() :]) if theirs and "=" not in gold else (gold, answer)


def _dollars(text: str) -> str:
    r"""``\$5`` as an amount in dollars, so that it is not taken for five cents."""
    return _DOLLARS.sub(r"\1\\text{ dollars}", text)


def _compare_readings(gold: str, answer: str, places: int | None) -> Decision:
    """``1,234`` may be a number or a list: the answers agree if they do under one way of reading them."""
    unreadable: UnreadableError | None = None
    decided = False
    for gold_node in _readings(gold):
        for answer_node in _readings(answer):
            try:
                if same(_products(gold_node, answer_node), _products(answer_node, gold_node), places):
                    return Decision(True, "same value")
                decided = True
            except UnreadableError as error:
                unreadable = error
    if unreadable and not decided:
        raise unreadable
    return Decision(False, "different value")


def _readings(text: str) -> list[Node]:
    first = grouped(exact(parse(text)))
    if not has_grouped_digits(text):
        return [first]
    try:
        return [first, grouped(exact(parse(text, group_digits=False)))]
    except UnreadableError:
        return [first]


def _products(node: Node, other: Node) -> Node:
    """``RC`` as ``R C`` where the other answer has R and C by themselves, and not RC."""
    apart, known = names(node), names(other)
    runs = {n for n in apart - known if len(n) > 1 and n.isalpha() and n.isupper() and known.issuperset(n)}
    return _split(node, runs) if runs else node


def _split(node: Node, runs: set[str]) -> Node:
    if node.op == "sym" and node.name in runs:
        first, *others = (Node("sym", name=letter) for letter in node.name)
        return reduce(lambda left, right: Node("mul", (left, right)), others, first)
    return Node(node.op, tuple(_split(part, runs) for part in node.args), node.name, node.number)


def same(gold: Node, answer: Node, places: int | None = None) -> bool:
    """Whether two trees mean the same answer."""
    gold, answer = _simplified(gold), _simplified(answer)
    if gold == answer:
        return True
    if gold.op == answer.op == "text":
        return words.same_words(gold.name, answer.name)
    gold, answer = _named_set(gold), _named_set(answer)
    if "text" in (gold.op, answer.op):
        return False
    if "mod" in (gold.op, answer.op):
        return _same_residue(gold, answer, places)
    if "rel" in (gold.op, answer.op) and (decided := _same_relation_or_set(gold, answer, places)) is not None:
        return decided
    if "list" in (gold.op, answer.op):
        gold, answer = _as_set(gold, answer), _as_set(answer, gold)
        return _same_set(gold, answer, places) or same_list(gold, answer, places, same)
    gold, answer = _single(gold), _single(answer)
    if is_scalar(gold) and is_scalar(answer):
        return same_scalar(gold, answer, places)
    if gold.op == answer.op == "matrix":
        return _same_rows(gold, answer, places)
    if "matrix" in (gold.op, answer.op):
        return _same_vector(gold, answer, places)
    return _same_set(gold, answer, places) or _same_collection(gold, answer, places)


def _as_set(node: Node, other: Node) -> Node:
    r"""``0, 2`` as a set where the other is ``\{0\} \cup \{2\}``."""
    values = node.op == "list" and all(map(is_scalar, node.args))
    return Node("set", node.args) if values and other.op in ("cup", "cap", "minus") else node


def _named_set(node: Node) -> Node:
    name = words.named_set(node.name) if node.op == "text" else None
    return node if name is None else Node("const", name=name)


def _same_residue(gold: Node, answer: Node, places: int | None) -> bool:
    """``3 (mod 5)`` is ``8 (mod 5)``, and the number 3."""
    if gold.op == answer.op:
        if not same(gold.args[1], answer.args[1], places):
            return False
        left, right, modulus = (_integer(n) for n in (gold.args[0], answer.args[0], gold.args[1]))
        if left is not None and right is not None and modulus:
            return (left - right) % modulus == 0
        return same(gold.args[0], answer.args[0], places)
    residue, other = (gold, answer) if gold.op == "mod" else (answer, gold)
    value, modulus = (_integer(n) for n in residue.args)
    return value is not None and modulus is not None and 0 <= value < modulus and same(residue.args[0], other, places)


def _integer(node: Node) -> int | None:
    if node.op == "neg":
        value = _integer(node.args[0])
        return None if value is None else -value
    return int(node.number.value) if node.number is not None and node.number.value.denominator == 1 else None


def _single(node: Node) -> Node:
    """A set of one number is that number."""
    return node.args[0] if node.op == "set" and len(node.args) == 1 and node.args[0].op not in ("set", "list") else node


def _simplified(node: Node) -> Node:
    """Without outer brackets; matrices computed; plus-minus written out as two answers."""
    while node.op == "paren":
        node = node.args[0]
    return matrices.reduced(spread(node))


def _same_relation_or_set(gold: Node, answer: Node, places: int | None) -> bool | None:
    if _same_set(gold, answer, places):
        return True
    return same_relation(gold, answer, places, same)


def _same_set(gold: Node, answer: Node, places: int | None) -> bool:
    """Both are sets of real numbers, at least one of them more than a bracketed pair, and equal."""
    if (gold.op not in SET_OPS and gold.op != "const") or (answer.op not in SET_OPS and answer.op != "const"):
        return False
    if gold.op == answer.op == "rel" and names(gold) != names(answer):
        return False
    gold_pieces, answer_pieces = pieces_of(gold), pieces_of(answer)
    return gold_pieces is not None and answer_pieces is not None and same_pieces(gold_pieces, answer_pieces, places)


def _same_collection(gold: Node, answer: Node, places: int | None) -> bool:
    """Tuples and intervals by position and brackets; sets, unions and the like part by part, in any order."""
    if gold.op == answer.op == "seq":
        brackets = gold.name == answer.name or (len(gold.args) > 2 and {gold.name, answer.name} == {"()", "[]"})
        return brackets and _same_in_order(gold, answer, places)
    if gold.op == answer.op == "set":
        return same_list(gold, answer, places, same)
    if gold.op == answer.op == "ratio":
        return _same_ratio(gold, answer, places)
    if gold.op == answer.op and gold.op in ("cup", "cap"):
        left, right = (Node("set", _parts(node, node.op)) for node in (gold, answer))
        return same_list(left, right, places, same)
    if gold.op == answer.op == "minus":
        return _same_in_order(gold, answer, places)
    if "ratio" in (gold.op, answer.op):
        return _ratio_as_quotient(gold, answer, places)
    return gold.op == answer.op and gold.op in ("based", "const", "dots") and gold.name == answer.name


def _same_in_order(gold: Node, answer: Node, places: int | None) -> bool:
    return len(gold.args) == len(answer.args) and all(
        same(g, a, places) for g, a in zip(gold.args, answer.args, strict=True)
    )


def _parts(node: Node, op: str) -> tuple[Node, ...]:
    return tuple(p for part in node.args for p in (_parts(part, op) if part.op == op else (part,)))


def _same_ratio(gold: Node, answer: Node, places: int | None) -> bool:
    """``3:2`` and ``6:4`` are the same; what may be a time of day (``12:30``) must be the same part by part."""
    if _same_in_order(gold, answer, places):
        return True
    if _may_be_time(gold) or _may_be_time(answer) or len(gold.args) != len(answer.args):
        return False
    pairs = combinations(zip(gold.args, answer.args, strict=True), 2)
    return all(same_scalar(Node("mul", (g, b)), Node("mul", (h, a)), places) for (g, a), (h, b) in pairs)


def _may_be_time(node: Node) -> bool:
    values = [part.number.value for part in node.args if part.number is not None]
    return len(values) == len(node.args) and values[0] < 25 and all(v == 0 or 10 <= v < 60 for v in values[1:])


def _ratio_as_quotient(gold: Node, answer: Node, places: int | None) -> bool:
    ratio, other = (gold, answer) if gold.op == "ratio" else (answer, gold)
    if len(ratio.args) != 2 or _may_be_time(ratio) or not is_scalar(other):
        return False
    try:
        return same_scalar(Node("div", ratio.args), other, places)
    except UndefinedError:
        return False


def _same_rows(gold: Node, answer: Node, places: int | None) -> bool:
    return len(gold.args) == len(answer.args) and all(
        _same_in_order(g, a, places) for g, a in zip(gold.args, answer.args, strict=True)
    )


def _same_vector(gold: Node, answer: Node, places: int | None) -> bool:
    """A column vector and the tuple of its entries are the same; a row is neither."""
    matrix, other = (gold, answer) if gold.op == "matrix" else (answer, gold)
    if other.op != "seq" or other.name != "()" or any(len(row.args) != 1 for row in matrix.args):
        return False
    column = Node("seq", tuple(row.args[0] for row in matrix.args), "()")
    return _same_in_order(column, other, places)
