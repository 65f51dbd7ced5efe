"""From an answer's LaTeX to one plain spelling of it, by rewriting text only, and the exact reading of plain numbers.

In: the text of an answer. Out: text without layout (spacing, sizes, fonts, delimiters, unicode variants).
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from sgopd.verifier.characters import plain_characters

MAX_ANSWER = 6_000  # characters; longer answers are compared as text only
MAX_DIGITS = 3_000  # digits of a number that is read as one

_CONTROL = re.compile("[\x00-\x06\x0e-\x1f\x7f]")
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>]{1,40}\|>|</?s>|</?answer>")
_ESCAPED = (  # a LaTeX command whose backslash was read as an escape ("\frac" -> form feed, "rac")
    ("\x0c", r"\f"), ("\x08", r"\b"), ("\x0b", r"\v"), ("\x07", r"\a"), ("\ttext", r"\text"), ("\ttimes", r"\times"),
    ("\times", r"\times"), ("\theta", r"\theta"), ("\tfrac", r"\tfrac"), ("\text", r"\text"), ("\right", r"\right"),
)  # fmt: skip
_SPACING = re.compile(
    r"\\(?:quad|qquad|displaystyle|textstyle|scriptstyle|limits|nolimits|phantom\{[^{}]*\}|hspace\*?\{[^{}]*\})"
    r"(?![A-Za-z])|(?<!\\)\\[,;:> ]|~"
)
_GLUED_QUAD = re.compile(r"\\(q?quad)(?=[A-Za-z])")
_SIZES = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|biggl|biggr|Biggl|Biggr|bigg|Bigg|big|Big|middle)(?![A-Za-z])\.?"
)
_FONTS = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|mathit|mathsf|mathcal|mathscr|vec|overrightarrow|underline|boxed|fbox|bold|it|bf|rm|tiny|small"
    r"|normalsize|large|Large|LARGE|huge|Huge|(?:text)?color\s*\{[A-Za-z0-9!]{1,30}\})(?![A-Za-z])"
)
_OPERATOR = re.compile(r"\\operatorname\*?\s*\{\s*([A-Za-z]+)\s*\}")
_MATH_SHIFT = re.compile(r"\$|(?<!\\)\\[()\[\]]")
_FRAC = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_THOUSANDS_TEX = re.compile(r"(?<=\d)(?: ?\{,\s*\}|,\\!|\\!,|\\,|\\!)\s*(?=\d{3}(?!\d))")
_DECIMAL_TEX = re.compile(r"(?<=\d)\{,\}(?=\d)")
_COMMENT = re.compile(r"(?<!\\)%[^\S\n]*[^\s][^\n]*\n")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_ORDINAL = re.compile(r"\^\s*\{?\s*\\(?:text|mathrm|textrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?")
_TEMPERATURE = re.compile(r"\^\s*\{?\s*\\circ\s*\}?\s*\\(?:text|mathrm)\s*\{\s*([CF])\s*\}")
_HALF_DAY = re.compile(r"(?<=\d)\s*([ap])\.\s?m\.", re.IGNORECASE)
_LINES = re.compile(r"\\(?:begin|end)\{(?:aligned|align\*?|gathered|split)\}")
_CONCLUDES = re.compile(r"\\(?:therefore|Rightarrow|implies|Longrightarrow|longrightarrow|rightarrow)(?![A-Za-z])\s*")
_ENDS = re.compile(r"\s*\\(?:checkmark|blacksquare|qed|Box)$")
_POWER = re.compile(r"(?<=[\w)}\]])\s*\*\*\s*(?=[\w({\\-])")
_WRAPPERS = ("**", "*", "'", "`")
_DOUBLED_BEGIN = re.compile(r"(?<!\\)\\\\begin")
_DANGLING = ".,;:"

_INTEGER_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3})+|(?: \d{3})+)(?:\.\d+)?")
_NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)")
_FRACTION = re.compile(
    r"([+-]?)\s*(?:\\frac\s*\{\s*([+-]?\d+)\s*\}\s*\{\s*([+-]?\d+)\s*\}|(\d+)\s*/\s*(\d+)|\\frac(\d)(\d))"
)
_DECIMAL_COMMA = re.compile(r"([+-]?(?:0|\d{4,})),(\d+)")


def clean(text: str) -> str:
    """One plain spelling: no layout, fonts, unicode variants or math delimiters. Linear in the length of ``text``."""
    text = _repair(_SPECIAL_TOKEN.sub("", text))
    text = plain_characters(text)
    text = _COMMENT.sub(" ", text)
    if _DOUBLED_BEGIN.search(text):  # the whole answer was escaped twice
        text = text.replace("\\\\", "\\")
    if r"\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    if _LINES.search(text):  # one equation below the other is a list of them
        text = _LINES.sub(" ", text).replace("&", "").replace("\\\\", ", ")
    text = _HALF_DAY.sub(
        lambda m: f" {m.group(1).upper()}M", _TEMPERATURE.sub(r"\\text{ degrees \1}", _ORDINAL.sub("", text))
    )
    text = _THOUSANDS_TEX.sub("", text.replace(r"\$", "").replace('"', ""))
    text = _DECIMAL_TEX.sub(".", text)
    text = _GLUED_QUAD.sub(r"\\\1 ", text).replace(r"\!", "")
    text = _SIZES.sub("", _SPACING.sub(" ", text))
    text = _OPERATOR.sub(r"\\\1 ", text)
    text = _FRAC.sub(r"\\frac", _FONTS.sub("", text))
    text = re.sub(r"\s+", " ", _MATH_SHIFT.sub(" ", text)).strip()
    return _trimmed(_POWER.sub("^", text))


def _trimmed(text: str) -> str:
    """Without line breaks and punctuation at its ends, and without quotes or markdown's emphasis around it."""
    text = text.removesuffix(r"\\").removeprefix(r"\\").strip()
    text = _ENDS.sub("", text[match.end() :] if (match := _CONCLUDES.match(text)) else text)
    while text and text[-1] in _DANGLING:
        text = text[:-1].rstrip()
    for mark in _WRAPPERS:
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            return text[len(mark) : -len(mark)].strip()
    return text


def _repair(text: str) -> str:
    for broken, meant in _ESCAPED:
        text = text.replace(broken, meant)
    return _CONTROL.sub("", text)


def squeeze(cleaned: str) -> str:
    """``cleaned`` without spaces, but for those between two digits, which mean something."""
    return re.sub(r"(?<!\d) | (?!\d)", "", cleaned)


@dataclass(frozen=True)
class Number:
    """A number that is written out. ``places``: digits after the point; ``digits``: significant ones."""

    value: Fraction
    places: int = 0
    digits: int = 0


def read_number(cleaned: str) -> Number | None:
    """An integer, decimal, simple fraction or number with thousands separators; None for anything else."""
    if len(cleaned) > MAX_DIGITS or not cleaned.isascii():
        return None
    while len(cleaned) > 2 and cleaned[0] == "{" and cleaned[-1] == "}":
        cleaned = cleaned[1:-1].strip()
    if match := _FRACTION.fullmatch(cleaned):
        return _simple_fraction(match)
    if _INTEGER_GROUPS.fullmatch(cleaned):
        cleaned = cleaned.replace(",", "").replace(" ", "")
    if not (match := _NUMBER.fullmatch(cleaned.replace("- ", "-"))):
        return None
    whole, _, part = match.group(2).partition(".")
    digits = len((whole + part).lstrip("0")) if part else len(whole.lstrip("0"))
    value = Fraction(int((whole + part) or "0"), 10 ** len(part))
    return Number(-value if match.group(1) == "-" else value, len(part), digits)


def _simple_fraction(match: re.Match[str]) -> Number | None:
    sign, *pairs = match.groups()
    top, bottom = (int(n) for n in pairs if n is not None)
    if bottom == 0:
        return None
    value = Fraction(top, bottom)
    return Number(-value if sign == "-" else value)


def read_decimal_comma(cleaned: str) -> Number | None:
    """``1000,99`` and ``0,111``: a decimal comma where nothing else makes sense (``1,2`` is a list)."""
    match = _DECIMAL_COMMA.fullmatch(cleaned)
    return read_number(f"{match.group(1)}.{match.group(2)}") if match else None
