"""The parts of the grammar that begin with a token of their own: numbers, names, brackets, fractions, roots, functions, matrices.

Functions over a ``Reader``; parser.py holds the levels above.
"""

from fractions import Fraction
from typing import TYPE_CHECKING

from sgopd.verifier.leaves import (
    literal,
    names_inside,
    num_literal,
    read_based,
    read_repeating,
    read_subscript,
    split_digit,
)
from sgopd.verifier.matrices import read_matrix
from sgopd.verifier.nodes import (
    ACCENTS,
    CONSTANTS,
    DOTS,
    FUNCTIONS,
    GREEK,
    IGNORED,
    NUMBER_SETS,
    RELATIONS,
    SET_OPERATIONS,
    Node,
    TooLargeError,
    UnknownNotationError,
    UnreadableError,
    num,
)  # fmt: skip
from sgopd.verifier.normalise import MAX_DIGITS

if TYPE_CHECKING:
    from sgopd.verifier.parser import Reader

CLOSING = {"(": (")", "]"), "[": (")", "]"), r"\{": (r"\}",), "langle": ("rangle",)}
OPENING_COMMANDS = frozenset(
    "frac sqrt binom dbinom tbinom lfloor lceil lvert lVert mathbb begin langle overline infty R".split()
)
OPERATORS = frozenset(("times", "cdot", "div", *RELATIONS, *SET_OPERATIONS))
FUNCTION_NAMES = frozenset(("f", "g", "F", "G", "\\phi", "\\varphi", "\\psi"))
BRACKETED = {
    "lfloor": ("rfloor", "floor"),
    "lceil": ("rceil", "ceil"),
    "lvert": ("rvert", "abs"),
    "lVert": ("rVert", "abs"),
}


def begins_factor(reader: "Reader") -> bool:
    """Whether the next token can stand beside a factor as another one."""
    token = reader.token
    if token.kind in ("num", "letter"):
        return True
    if token.kind == "mark":
        return token.value in ("(", "[", "{") or (token.value == "|" and not reader.inside_bars)
    known = (OPENING_COMMANDS, FUNCTIONS, GREEK, CONSTANTS, ACCENTS, IGNORED)
    return token.kind == "command" and any(token.value in group for group in known)


def read_atom(reader: "Reader") -> Node:
    token = reader.token
    if token.kind == "num":
        return _read_number(reader)
    if token.kind == "letter":
        return _read_name(reader)
    if token.kind == "text":
        reader.take()
        return Node("text", name=token.value)
    if token.kind == "mark" or token.value in CLOSING:
        return _read_bracket(reader)
    if token.kind == "command":
        return _read_command(reader)
    raise UnreadableError("a formula ends early")


def read_group(reader: "Reader") -> Node:
    """``{...}``."""
    reader.expect("{")
    node = reader.read_list()
    reader.expect("}")
    return node


def read_argument(reader: "Reader") -> Node:
    r"""What TeX takes as an argument: a group, or one token (``\frac12`` is one half)."""
    if reader.token.value == "{" and reader.token.kind == "mark":
        return read_group(reader)
    if reader.token.kind == "num" and len(reader.token.value) > 1 and reader.token.value.isdigit():
        return num(split_digit(reader))
    return read_atom(reader)


def read_exponent(reader: "Reader") -> Node:
    """``x^2``, ``2^-1`` and ``2^10`` as people write it, though TeX would take one digit."""
    if reader.accept("-"):
        return Node("neg", (read_atom(reader),))
    return read_atom(reader)


def _read_number(reader: "Reader") -> Node:
    text = reader.take().value
    if reader.token.value == "_" and text.isdigit():
        return read_based(reader, text)
    if len(text) > MAX_DIGITS:
        raise TooLargeError("a number of too many digits")
    node = Node("num", number=literal(text))
    if not text.isdigit():
        return read_repeating(reader, text) if "." in text and reader.token.value == "overline" else node
    return _mixed(reader, int(text)) or node


def _mixed(reader: "Reader", whole: int) -> Node | None:
    r"""``2\frac{1}{2}`` and ``1 1/2``: a whole number beside a proper fraction of written-out numbers is their sum."""
    start = reader.at
    if reader.token.value == "frac":
        part = read_atom(reader)
        if part.op == "div" and all(a.number is not None for a in part.args):
            top, bottom = (a.number.value for a in part.args if a.number)
            if whole and 0 < top < bottom:
                return num(whole + top / bottom)
    elif reader.token.kind == "num" and reader.token.space_before and reader.peek().value == "/":
        top_text, bottom_text = reader.token.value, reader.peek(2).value
        if top_text.isdigit() and bottom_text.isdigit() and 0 < int(top_text) < int(bottom_text):
            reader.at += 3
            return num(whole + Fraction(int(top_text), int(bottom_text)))
    reader.at = start
    return None


def _read_name(reader: "Reader", command: bool = False) -> Node:
    value = reader.take().value
    called = value == "I" and reader.token.value == "("
    if value in ("i", "I", "e") and not command and reader.token.value not in ("_", "'") and not called:
        return Node("const", name="i" if value in "iI" else "e")
    name = f"\\{value}" if command else value
    while reader.token.value in ("_", "'") and reader.token.kind == "mark":
        if reader.token.value == "'":
            reader.take()
            name += "'"
        else:
            name += "_" + read_subscript(reader)
    return _call(reader, name) or Node("sym", name=name)


def _call(reader: "Reader", name: str) -> Node | None:
    """``f(x+1)``, ``h'(0)``, ``u(t)``: the value of a function, of which nothing is known. ``n(n+1)`` is a product."""
    if reader.token.value != "(" or reader.token.kind != "mark":
        return None
    start = reader.at
    argument = _read_bracket(reader)
    inner = argument.args[0] if argument.op == "paren" else argument
    plain = inner.op in ("num", "sym") or (inner.op == "neg" and inner.args[0].op in ("num", "sym"))
    if plain or name.endswith("'") or name.partition("_")[0] in FUNCTION_NAMES:
        return Node("call", inner.args if inner.op == "seq" else (inner,), name)
    reader.at = start
    return None


def _read_bracket(reader: "Reader") -> Node:
    opening = reader.take().value
    if opening == "{":
        node = reader.read_list()
        if reader.token.value in ("choose", "over") and reader.token.kind == "command":
            node = Node("binom" if reader.take().value == "choose" else "div", (node, reader.read_list()))
        reader.expect("}")
        return node
    if opening == "|":
        return _read_bars(reader)
    if opening == r"\{" and (condition := _set_builder(reader)):
        return condition
    if opening not in CLOSING:
        raise UnreadableError(f"a formula cannot begin with {opening!r}")
    if reader.token.value in CLOSING[opening]:
        reader.take()
        return Node("const", name="empty") if opening == r"\{" else Node("seq", name=opening)
    bars, reader.inside_bars = reader.inside_bars, False
    inner = reader.read_list()
    reader.inside_bars = bars
    closing = reader.take().value
    if closing not in CLOSING[opening]:
        raise UnreadableError(f"{opening!r} is never closed")
    items = inner.args if inner.op == "list" else (inner,)
    if opening == r"\{":
        return Node("set", items)
    if len(items) == 1 and opening + closing in ("()", "[]"):
        return items[0] if items[0].op != "num" else Node("paren", items)
    return Node("seq", items, "()" if opening == "langle" else opening + closing)


def _set_builder(reader: "Reader") -> Node | None:
    r"""The condition in ``\{x \mid x > 1\}`` and ``\{x \in \mathbb{R} : x > 1\}``, which is the set of what fulfils it."""
    start = reader.at
    if reader.take().kind == "letter":
        if reader.accept("in"):
            over = read_atom(reader)
            if over != Node("const", name="R"):
                reader.at = start
                return None
        if reader.accept("mid", "|", ":"):
            condition = reader.read_list()
            reader.expect(r"\}")
            return condition
    reader.at = start
    return None


def _read_bars(reader: "Reader") -> Node:
    if reader.inside_bars:
        raise UnreadableError("bars inside bars")
    reader.inside_bars = True
    inner = reader.read_sum()
    reader.inside_bars = False
    reader.expect("|")
    return Node("abs", (inner,))


def _read_command(reader: "Reader") -> Node:
    name = reader.token.value
    if name in GREEK:
        return _read_name(reader, command=True)
    if name in FUNCTIONS:
        return _read_function(reader)
    reader.take()
    if name in CONSTANTS:
        return Node("const", name=CONSTANTS[name])
    if name in DOTS:
        return Node("dots")
    if name in IGNORED:
        return read_atom(reader)
    if name in BRACKETED:
        closing, operation = BRACKETED[name]
        inner = reader.read_sum()
        reader.expect(closing)
        return Node(operation, (inner,))
    if name in ACCENTS:
        return Node("sym", name=f"{name} {names_inside(reader)}")
    return _read_construct(reader, name)


def _read_construct(reader: "Reader", name: str) -> Node:
    if name == "frac":
        return Node("div", (read_argument(reader), read_argument(reader)))
    if name in ("binom", "dbinom", "tbinom"):
        return Node("binom", (read_argument(reader), read_argument(reader)))
    if name == "sqrt":
        index = num(2)
        if reader.accept("["):
            index = reader.read_sum()
            reader.expect("]")
        radicand = read_argument(reader) if reader.token.value != "(" else read_atom(reader)
        return Node("root", (radicand, index))
    if name in ("mathbb", "R"):
        letter = "R" if name == "R" else names_inside(reader)
        subscript = "_" + read_subscript(reader) if reader.token.value == "_" else ""
        if letter in NUMBER_SETS and not subscript:
            return Node("const", name=NUMBER_SETS[letter])
        return Node("sym", name=f"mathbb {letter}{subscript}")
    if name == "begin":
        return read_matrix(reader)
    if name in OPERATORS:
        raise UnreadableError(f"nothing stands before \\{name}")
    raise UnknownNotationError(f"unknown command \\{name}")


def _read_function(reader: "Reader") -> Node:
    r"""``\sin^2 2x``, ``\log_2 8``, ``\max(a, b)``; without brackets the argument is the product that follows."""
    name = reader.take().value
    base: tuple[Node, ...] = ()
    power: Node | None = None
    for _ in range(2):
        if reader.token.value == "_" and name == "log":
            reader.take()
            base = (read_argument(reader),)
        elif reader.accept("^"):
            power = read_argument(reader)
    if power is not None and power == Node("neg", (num_literal("1"),)) and f"arc{name}" in FUNCTIONS:
        name, power = "arc" + name, None
    call = Node("fn", (_function_argument(reader), *base), name)
    return Node("pow", (call, power)) if power is not None else call


def _function_argument(reader: "Reader") -> Node:
    if reader.token.value in ("(", "{", "[") and reader.token.kind == "mark":
        bracket = read_atom(reader)
        if bracket.op == "seq" and bracket.name in ("(]", "[)"):
            raise UnreadableError("brackets around arguments that do not fit")
        bracket = bracket.args[0] if bracket.op == "paren" else bracket
        if reader.accept("^"):
            exponent = read_group(reader) if reader.token.value == "{" else read_exponent(reader)
            raise UnreadableError(f"the exponent {exponent.op} after a function's brackets is ambiguous")
        return bracket
    if reader.accept("-"):
        return Node("neg", (_function_argument(reader),))
    argument = reader.read_power()
    while begins_factor(reader) and reader.token.value not in FUNCTIONS and reader.token.value not in ("(", "["):
        argument = Node("mul", (argument, reader.read_power()))
    if reader.token.value == "/" and reader.peek().kind == "num":  # sin pi/6
        reader.take()
        argument = Node("div", (argument, reader.read_power()))
    return argument
