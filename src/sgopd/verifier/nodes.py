"""The tree of an answer, and the vocabulary of commands, words and units that may occur in one. Pure data.

A node's ``op`` says what it is, ``args`` are its parts. Leaves: ``num`` (value: Number), ``sym``, ``text``, ``const``.
"""

from dataclasses import dataclass
from fractions import Fraction

from sgopd.verifier.normalise import Number


@dataclass(frozen=True)
class Node:
    """``name`` holds what is not a node: a symbol, function, bracket pair, relation signs, unit or connective."""

    op: str
    args: tuple["Node", ...] = ()
    name: str = ""
    number: Number | None = None


class UnreadableError(Exception):
    """The text is not an answer in the notation read here; another reader may know it."""


class UnknownNotationError(UnreadableError):
    """Well formed as far as it was read, but with a command that is not known here: sums, integrals and the like."""


class TooLargeError(Exception):
    """The value lies beyond the bounds within which it is computed; nobody shall try."""


def num(value: Fraction | int) -> Node:
    return Node("num", number=Number(Fraction(value)))


FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth arcsinh arccosh arctanh exp ln log lg "
    "max min gcd lcm sign sgn Re Im arg".split()
)
FUNCTION_ALIASES = {
    "tg": "tan", "ctg": "cot", "cotg": "cot", "cosec": "csc", "arctg": "arctan", "arcctg": "arccot", "sh": "sinh", "ch": "cosh",
    "th": "tanh", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arsinh": "arcsinh", "arcosh": "arccosh",
    "artanh": "arctanh",
}  # fmt: skip
GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega hbar ell aleph nabla partial".split()
)
CONSTANTS = {"pi": "pi", "infty": "inf", "infinity": "inf", "inf": "inf", "emptyset": "empty", "varnothing": "empty"}
NUMBER_SETS = {"R": "R", "Z": "Z", "Q": "Q", "N": "N", "C": "C"}
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", "lt": "<", "gt": ">", "le": "<=", "leq": "<=",
    "leqslant": "<=", "ge": ">=", "geq": ">=",
    "geqslant": ">=", "ne": "!=", "neq": "!=", "approx": "~", "simeq": "~", "in": "in", "equiv": "=", "coloneqq": "=",
}  # fmt: skip
DOTS = frozenset("ldots dots cdots dotsc dotsb".split())
SET_OPERATIONS = {"cup": "cup", "cap": "cap", "setminus": "minus", "backslash": "minus", "bigcup": "cup"}
TEXT_COMMANDS = frozenset("text textbf textit textrm textnormal mathrm mbox textsf texttt rm emph".split())
ACCENTS = frozenset("overline bar hat widehat tilde widetilde underline dot ddot overrightarrow".split())
IGNORED = frozenset("angle triangle measuredangle mathopen mathclose mathrel mathord mathop odot".split())
SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}

_LENGTHS = {
    "mm": "1/1000", "millimeter": "1/1000", "cm": "1/100", "centimeter": "1/100", "centimetre": "1/100", "m": "1", "meter": "1",
    "metre": "1", "km": "1000", "kilometer": "1000", "kilometre": "1000", "in": "127/5000", "inch": "127/5000", "inche": "127/5000",
    "ft": "381/1250", "foot": "381/1250", "feet": "381/1250", "yard": "1143/1250", "mile": "201168/125", "mi": "201168/125",
}  # fmt: skip
_TIMES = {
    "s": "1", "sec": "1", "second": "1", "min": "60", "minute": "60", "h": "3600", "hr": "3600", "hour": "3600", "day": "86400",
    "week": "604800", "ms": "1/1000", "millisecond": "1/1000",
}  # fmt: skip
_MASSES = {"mg": "1/1000", "g": "1", "gram": "1", "kg": "1000", "kilogram": "1000"}
_MONEY = {"dollar": "1", "usd": "1", "buck": "1", "cent": "1/100"}
_ANGLES = {"degree": "1", "deg": "1", "°": "1"}
_TABLES = (("length", _LENGTHS), ("time", _TIMES), ("mass", _MASSES), ("money", _MONEY), ("angle", _ANGLES))
UNITS = {unit: (kind, Fraction(factor)) for kind, table in _TABLES for unit, factor in table.items()}
UNIT_LETTERS = frozenset("m s g h N J K W V A L C F T H".split())
BARE_UNITS = frozenset(
    "cm mm km kg mg ft mi min sec hr mph kph meters meter metre metres miles mile feet foot inches inch hours hour minutes minute "
    "seconds second days day weeks week months month years year dollars dollar cents cent degrees degree units unit yuan "
    "square cubic percent people students points litres liters gallons pounds grams".split()
)


def unit_of(words: str) -> str:
    """One spelling of a unit: lower case, no points, articles, "of ..." or plural."""
    kept = [w for w in words.lower().replace(".", " ").replace("-", " ").split() if w not in ("the", "a", "an")]
    if "of" in kept[1:]:
        kept = kept[: kept.index("of")]
    return " ".join(w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in kept)
