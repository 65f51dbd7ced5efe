"""From the cleaned text of an answer to tokens. Knows LaTeX's words, not its grammar.

Bounded: at most MAX_TOKENS tokens, nesting at most MAX_DEPTH.
"""

import re
from dataclasses import dataclass
from typing import Literal

from sgopd.verifier.nodes import (
    BARE_UNITS,
    CONSTANTS,
    FUNCTION_ALIASES,
    FUNCTIONS,
    TEXT_COMMANDS,
    UNIT_LETTERS,
    TooLargeError,
    UnreadableError,
)

MAX_TOKENS = 3_000
MAX_DEPTH = 40

Kind = Literal["num", "letter", "command", "text", "mark", "end"]


@dataclass(frozen=True)
class Token:
    kind: Kind
    value: str
    space_before: bool = False


_LEX = re.compile(
    r"(?P<space>\s+)|(?P<num>\d+\.(?=\s*\\overline)|\d+(?:\.\d+)?(?:[eE][+-]?\d+(?![\w.]))?|\.\d+)|\\(?P<command>[A-Za-z]+\*?)|(?P<escaped>\\.)|(?P<word>[A-Za-z]+)"
    r"|(?P<mark><=|>=|!=|<|>|.)",
    re.DOTALL,
)
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:(?:,\d{3})+|(?: \d{3})+)(?![\d]|,\d)")
_FUNCTION_PREFIX = re.compile(r"(arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|ln|log|sqrt)([A-Za-z])")
_UNIT_TEXT = re.compile(r"[A-Za-z]{1,8}(?:\^?-?\d)?(?:[\s/*.^-]+[A-Za-z]{1,8}(?:\^?-?\d)?)*")
_WORD = re.compile(r"[A-Za-z]{2,}")
_LISTED = re.compile(r"[-\d.,/ ]*\d[-\d.,/ ]*(?:(?:and|or)[-\d.,/ ]*\d[-\d.,/ ]*)+")
_ESCAPED = {
    r"\{": r"\{",
    r"\}": r"\}",
    r"\|": "|",
    r"\%": "%",
    r"\\": r"\\",
    r"\_": "_",
    r"\&": "&",
    r"\ ": " ",
    r"\#": "#",
}


def tokenize(text: str, group_digits: bool) -> list[Token]:
    """Tokens of ``text``. ``group_digits``: outside brackets, ``1,234`` is a number and not a list of two."""
    if not text.isascii():
        raise UnreadableError("characters that are no mathematics")
    if group_digits:
        text = _group(text)
    tokens: list[Token] = []
    _lex(text, tokens)
    _check_depth(tokens)
    return [*tokens, Token("end", "")]


def has_grouped_digits(text: str) -> bool:
    return _group(text) != text


def _group(text: str) -> str:
    """Digits grouped by commas (outside brackets) or spaces, joined."""
    depth, depths = 0, []
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        depths.append(depth)

    def join(match: re.Match[str]) -> str:
        if "," in match.group() and depths[match.start()] > 0:
            return match.group()
        return match.group().replace(",", "").replace(" ", "")

    return _GROUPED.sub(join, text)


def _lex(text: str, tokens: list[Token]) -> None:
    position, space = 0, False
    while position < len(text):
        match = _LEX.match(text, position)
        if match is None or len(tokens) > MAX_TOKENS:
            raise TooLargeError("too many tokens")
        position = match.end()
        kind, value = match.lastgroup, match.group(match.lastgroup or 0)
        if kind == "space":
            space = True
            continue
        if kind == "command" and value in TEXT_COMMANDS:
            position = _lex_text(text, position, tokens)
        elif kind == "command":
            tokens.append(Token("command", FUNCTION_ALIASES.get(value, value), space))
        elif kind == "word":
            _lex_word(value, space, tokens)
        elif kind == "num":
            tokens.append(Token("num", value, space))
        elif kind == "escaped":
            if value not in _ESCAPED:
                raise UnreadableError(f"unknown {value!r}")
            tokens.append(Token("mark", _ESCAPED[value], space))
        else:
            tokens.append(Token("mark", value, space))
        space = False


def _lex_text(text: str, position: int, tokens: list[Token]) -> int:
    r"""``\text{...}``: words stay together; a letter, number or formula inside is read as if it stood outside."""
    content, end = _group_content(text, position)
    plain = content.replace("{", " ").replace("}", " ").strip()
    if _LISTED.fullmatch(plain):
        _lex(plain, tokens)
        return end
    after_value = bool(tokens) and (tokens[-1].kind in ("num", "letter") or tokens[-1].value in (")", "}", "]"))
    if (
        _WORD.search(re.sub(r"\\[A-Za-z]+", " ", plain))
        and not plain.isupper()
        and plain not in FUNCTIONS
        and plain not in CONSTANTS
    ) or (after_value and _is_unit(plain)):
        tokens.append(Token("text", plain))
    elif plain:
        _lex(plain, tokens)
    return end


def _is_unit(plain: str) -> bool:
    """``m``, ``m/s``, ``kg m^2``: each name a known letter or a word of two."""
    parts = re.findall(r"[A-Za-z]+", plain)
    return bool(_UNIT_TEXT.fullmatch(plain)) and all(len(p) > 1 or p in UNIT_LETTERS for p in parts)


def _group_content(text: str, position: int) -> tuple[str, int]:
    while position < len(text) and text[position] == " ":
        position += 1
    if position >= len(text) or text[position] != "{":
        return text[position : position + 1], position + 1
    depth = 0
    for end in range(position, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[position + 1 : end], end + 1
    raise UnreadableError("a brace is never closed")


def _lex_word(word: str, space: bool, tokens: list[Token]) -> None:
    """A run of letters: a function, a name in capitals, a word, or a product of letters."""
    glued = _FUNCTION_PREFIX.fullmatch(word)
    if len(word) == 1:
        tokens.append(Token("letter", word, space))
    elif (
        word in FUNCTIONS
        or word in CONSTANTS
        or word == "sqrt"
        or (word.startswith("arc") and word in FUNCTION_ALIASES)
    ):
        word = FUNCTION_ALIASES.get(word, word)
        tokens.append(Token("command", word, space))
    elif glued:
        tokens += [Token("command", glued.group(1), space), Token("letter", glued.group(2))]
    elif word.isupper():
        tokens.append(Token("letter", word, space))
    elif len(word) >= 4 or word.lower() in BARE_UNITS or word.lower() in ("and", "or", "yes", "no", "the", "is", "are"):
        tokens.append(Token("text", word, space))
    else:
        tokens += [Token("letter", letter, space and i == 0) for i, letter in enumerate(word)]


def _check_depth(tokens: list[Token]) -> None:
    depth = 0
    for token in tokens:
        depth += (token.value in ("(", "[", "{", r"\{", "lfloor", "lceil")) - (
            token.value in (")", "]", "}", r"\}", "rfloor", "rceil")
        )
        if depth > MAX_DEPTH:
            raise TooLargeError("nested too deeply")
