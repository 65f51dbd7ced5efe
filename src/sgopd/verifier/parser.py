"""From tokens to the tree of an answer: lists, relations, sets, intervals, matrices and formulas. Recursive descent.

In: cleaned text. Out: a ``Node``. Raises UnreadableError for notation it does not know, TooLargeError beyond its bounds.
"""

import re

from sgopd.verifier import atoms
from sgopd.verifier.leaves import read_subscript
from sgopd.verifier.lexer import Token, tokenize
from sgopd.verifier.nodes import RELATIONS, SCALES, SET_OPERATIONS, Node, UnreadableError, num, unit_of

CONNECTIVES = {",": ",", ";": ",", "and": "and", "or": "or", "land": "and", "wedge": "and", "lor": "or", "vee": "or"}
LEADING_WORDS = (
    "the answer is", "answer is", "the final answer is", "final answer is", "answer", "final answer", "the answer", "so", "thus",
    "hence", "therefore", "is", "it is", "approximately", "about", "exactly", "either", "both", "where", "total of", "a total of",
)  # fmt: skip
NO_UNIT_WORDS = frozenset(  # what they stand beside is not the number of something, or not certain
    "not or and is are if where unless except but wrong incorrect false maybe perhaps possibly probably guess least most than "
    "factorial squared cubed minus plus divided modulo remainder base below above over negative halves thirds fourths fifths "
    "sixths sevenths eighths ninths tenths hundredths thousandths".split()
)
TRAILING_WORDS = ("approximately", "only", "or so", "in total", "total", "respectively", "exactly")


def parse(text: str, group_digits: bool = True) -> Node:
    """The tree of an answer."""
    reader = Reader(tokenize(text, group_digits))
    if all(t.kind in ("text", "end") for t in reader.tokens):
        return Node("text", name=" ".join(t.value for t in reader.tokens[:-1]))
    node = reader.read_list()
    if reader.token.kind != "end":
        raise UnreadableError(f"cannot go on at {reader.token.value!r}")
    return node


class Reader:
    """A position in a list of tokens, and one method per level of the grammar, loosest first."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.inside_bars = False  # so that the next bar closes

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def peek(self, ahead: int = 1) -> Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.token
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def accept(self, *values: str) -> bool:
        if self.token.value in values and self.token.kind in ("mark", "command"):
            self.take()
            return True
        return False

    def expect(self, value: str) -> None:
        if not self.accept(value):
            raise UnreadableError(f"{value!r} is missing before {self.token.value!r}")

    def read_list(self) -> Node:
        """Items parted by commas, semicolons, "and" or "or"; a single item as it is."""
        items, connectives = [], set()
        while True:
            while joined := self._connective():
                connectives.add(joined)
            if self.token.kind == "end" or self.token.value in (")", "]", "}", r"\}"):
                break
            items.append(self.read_relation())
            joined = self._connective()
            if not joined:
                break
            connectives.add(joined)
        if not items:
            raise UnreadableError("nothing stands here")
        if len(items) == 1:
            return items[0]
        words = connectives - {","}
        return Node("list", tuple(items), words.pop() if len(words) == 1 else ",")

    def _connective(self) -> str:
        value = self.token.value.strip().lower().strip(",").strip() if self.token.kind == "text" else self.token.value
        if self.token.kind == "letter" or value not in CONNECTIVES:
            return ""
        self.take()
        return CONNECTIVES[value]

    def read_relation(self) -> Node:
        """``a < b <= c``, ``x = 5``, ``x in S``; a formula without a relation as it is."""
        self._skip_leading_words()
        if self.token.value in ("=", "approx"):  # "= 5": what comes before stands outside the answer
            self.take()
        parts, signs = [self.read_ratio()], []
        while self.token.kind in ("mark", "command") and self.token.value in RELATIONS:
            signs.append(RELATIONS[self.take().value])
            parts.append(self.read_ratio())
        while self.token.kind == "text" and self.token.value.lower() in TRAILING_WORDS:
            self.take()
        return Node("rel", tuple(parts), " ".join(signs)) if signs else parts[0]

    def _skip_leading_words(self) -> None:
        while self.token.kind == "text" and self.peek().kind != "end":
            words = self.token.value.strip().lower()
            named = words.rstrip().endswith((":", "=", " is")) and " not" not in f" {words}"
            if not named and words.strip(" :,") not in LEADING_WORDS:
                return
            self.take()
            self.accept(":")

    def read_ratio(self) -> Node:
        """``a : b``, and ``a (mod n)``."""
        parts = [self.read_set_operation()]
        while self.accept(":"):
            parts.append(self.read_set_operation())
        node = Node("ratio", tuple(parts)) if len(parts) > 1 else parts[0]
        return Node("mod", (node, self.read_power())) if self.accept("pmod", "bmod", "mod") else node

    def read_set_operation(self) -> Node:
        left = self.read_sum()
        while self.token.kind == "command" and self.token.value in SET_OPERATIONS:
            operation = SET_OPERATIONS[self.take().value]
            left = Node(operation, (left, self.read_sum()))
        return left

    def read_sum(self) -> Node:
        terms = [self._signed_term(first=True)]
        while self.token.value in ("+", "-", "pm", "mp") and self.token.kind in ("mark", "command"):
            terms.append(self._signed_term(first=False))
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def _signed_term(self, first: bool) -> Node:
        if self.token.kind in ("mark", "command") and self.token.value in ("+", "-", "pm", "mp"):
            sign = self.take().value
            if not first and self.token.value in ("+", "-"):
                raise UnreadableError("two signs in a row")
            term = self._signed_term(first=True) if first else self.read_product()
            return {"+": term, "-": Node("neg", (term,))}.get(sign, Node("pm", (term,), sign))
        return self.read_product()

    def read_product(self) -> Node:
        """Factors joined by a sign or by standing side by side; a unit after the last one."""
        left = self.read_power()
        while True:
            if self.accept("*", "cdot", "times"):
                left = Node("mul", (left, self._factor_after_sign()))
            elif self.token.value in ("/", "div") and self.token.kind in ("mark", "command"):
                self.take()
                left = Node("div", (left, self._factor_after_sign()))
            elif self.token.kind == "text":
                if not self._is_unit(left):
                    return left
                left = self._unit(left)
            elif atoms.begins_factor(self):
                left = Node("mul", (left, self._beside(left)))
            else:
                return left

    def _factor_after_sign(self) -> Node:
        if self.accept("-"):
            return Node("neg", (self.read_power(),))
        return self.read_power()

    def _beside(self, left: Node) -> Node:
        """The factor that stands beside ``left`` without a sign. Two numbers side by side mean nothing."""
        if self.token.kind == "num" and left.op in ("num", "mul"):
            raise UnreadableError("two numbers side by side")
        return self.read_power()

    def _is_unit(self, left: Node) -> bool:
        text = self.token.value.strip().lower()
        words = re.findall("[a-z]+", text)
        return (
            text.strip(",") not in CONNECTIVES
            and text not in TRAILING_WORDS
            and len(words) <= 6
            and NO_UNIT_WORDS.isdisjoint(words)
            and left.op not in ("text", "list", "rel")
        )

    def _unit(self, left: Node) -> Node:
        """``15 cm^2``, ``3 km/h``, ``5 million``, ``28 percent``."""
        words = unit_of(self.take().value)
        first, _, rest = words.partition(" ")
        if first in SCALES:
            left, words = Node("mul", (left, num(SCALES[first]))), rest
        elif first in ("percent", "percentage") or words == "per cent":
            return Node("percent", (left,))
        if not words:
            return left
        words += self._unit_power()
        while self.token.value == "/" and (self.peek().kind == "text" or self.peek().kind == "letter"):
            self.take()
            words += "/" + unit_of(self.take().value) + self._unit_power()
        while self.token.kind == "text" and self._is_unit(left):
            words += " " + unit_of(self.take().value)
        return Node("unit", (left,), words)

    def _unit_power(self) -> str:
        """The ``^2`` behind a unit."""
        if not self.accept("^"):
            return ""
        power = atoms.read_group(self) if self.token.value == "{" else atoms.read_exponent(self)
        return f"^{power.number.value}" if power.number else ""

    def read_power(self) -> Node:
        """A factor with its exponents, factorials, percent and degree signs."""
        base = atoms.read_atom(self)
        while True:
            if self.accept("^"):
                base = self._raised(base)
            elif self.token.value == "!" and self.token.kind == "mark":
                self.take()
                base = Node("fact", (base,))
            elif self.accept("%"):
                base = Node("percent", (base,))
            elif self.token.value == "_" and base.op == "paren":  # (1011)_2
                base = _based(base.args[0], self)
            else:
                return base

    def _raised(self, base: Node) -> Node:
        braced = self.token.value == "{"
        inner = self.peek() if braced else self.token
        if inner.value in ("circ", "prime") or inner.value == "'":
            self.at += 3 if braced else 1
            return Node("degree", (base,)) if inner.value == "circ" else Node("sym", name=_primed(base))
        exponent = atoms.read_group(self) if braced else atoms.read_exponent(self)
        return Node("pow", (base, exponent))


def _based(digits: Node, reader: Reader) -> Node:
    if digits.number is None or digits.number.places:
        raise UnreadableError("a base behind something that is no numeral")
    return Node("based", name=f"{digits.number.value}_{read_subscript(reader).strip('()')}")


def _primed(base: Node) -> str:
    if base.op != "sym":
        raise UnreadableError("a prime after something that is not a name")
    return base.name + "'"
