"""Whether two answers are the same: readings of the text, then structure, then value. docs/verifier.md lists the policies.

In: gold and answer as text. Out: a ``Decision``; ``equal`` is None when the notation is not known here. Always bounded.
"""

from itertools import combinations

from sgopd.verifier import matrices, words
from sgopd.verifier.cheap import Decision
from sgopd.verifier.equality import names
from sgopd.verifier.lexer import has_grouped_digits
from sgopd.verifier.lists import same_list
from sgopd.verifier.nodes import Node, TooLargeError, UnknownNotationError, UnreadableError
from sgopd.verifier.normalise import clean, read_decimal_comma, read_number
from sgopd.verifier.numbers import numbers_agree
from sgopd.verifier.parser import parse
from sgopd.verifier.relations import same_relation
from sgopd.verifier.scalars import is_scalar, same_scalar
from sgopd.verifier.sets import pieces_of, same_pieces
from sgopd.verifier.values import UndefinedError

SET_OPS = ("seq", "set", "cup", "cap", "minus", "rel", "list")


def compare(gold: str, answer: str, decimal_places: int | None = None) -> Decision:
    """Compare two answers by what they mean. Raises nothing but MemoryError."""
    gold, answer = clean(gold), clean(answer)
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


def _compare_readings(gold: str, answer: str, places: int | None) -> Decision:
    """``1,234`` may be a number or a list: the answers agree if they do under one way of reading them."""
    unreadable: UnreadableError | None = None
    decided = False
    for gold_node in _readings(gold):
        for answer_node in _readings(answer):
            try:
                if same(gold_node, answer_node, places):
                    return Decision(True, "same value")
                decided = True
            except UnreadableError as error:
                unreadable = error
    if unreadable and not decided:
        raise unreadable
    return Decision(False, "different value")


def _readings(text: str) -> list[Node]:
    first = parse(text)
    if not has_grouped_digits(text):
        return [first]
    try:
        return [first, parse(text, group_digits=False)]
    except UnreadableError:
        return [first]


def same(gold: Node, answer: Node, places: int | None = None) -> bool:
    """Whether two trees mean the same answer."""
    gold, answer = _simplified(gold), _simplified(answer)
    if gold == answer:
        return True
    if "text" in (gold.op, answer.op):
        return gold.op == answer.op and words.same_words(gold.name, answer.name)
    if "rel" in (gold.op, answer.op) and (decided := _same_relation_or_set(gold, answer, places)) is not None:
        return decided
    if "list" in (gold.op, answer.op):
        return _same_set(gold, answer, places) or same_list(gold, answer, places, same)
    gold, answer = _single(gold), _single(answer)
    if is_scalar(gold) and is_scalar(answer):
        return same_scalar(gold, answer, places)
    if gold.op == answer.op == "matrix":
        return _same_rows(gold, answer, places)
    if "matrix" in (gold.op, answer.op):
        return _same_vector(gold, answer, places)
    return _same_set(gold, answer, places) or _same_collection(gold, answer, places)


def _single(node: Node) -> Node:
    """A set of one number is that number."""
    return node.args[0] if node.op == "set" and len(node.args) == 1 else node


def _simplified(node: Node) -> Node:
    """Without outer brackets; matrices computed; plus-minus written out as two answers."""
    while node.op == "paren":
        node = node.args[0]
    return matrices.reduced(_spread(node))


def _spread(node: Node) -> Node:
    from sgopd.verifier.lists import spread

    return spread(node)


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
