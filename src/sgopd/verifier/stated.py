"""Final answers without a box: those that a response announces, and the last formula or number as a guess.

For evaluating models that were not asked for a box; training never uses it. Linear in the length of what it reads.
"""

import re

TAIL = 4_000  # characters at the end of a response in which an answer is looked for
BARE = 200  # characters of a response that is nothing but an answer

_TAGGED = re.compile(r"<answer>(.{1,400}?)</answer>", re.DOTALL)
_JSON = re.compile(r'\{\s*"(?:final_)?answer"\s*:\s*"?([^"{}]{1,200}?)"?\s*\}')
_HASHES = re.compile(r"####[ \t]*([^\s#][^\n#]*)$", re.MULTILINE)
_ANNOUNCED = re.compile(
    r"(?:\b(?:final |correct )?answer(?: to [^.:\n]{1,60})?(?:\s*(?:is|are)\s*:?|\s*:)"
    r"|^A:|^#+ *(?:final )?answer *\n|\\\[\s*answer:)\s*\**\s*",
    re.IGNORECASE | re.MULTILINE,
)
_MATH = re.compile(
    r"\$\$(?P<a>[^$]{1,1500})\$\$|\\\[(?P<b>(?:[^\\]|\\[^\]\[]){1,1500})\\\]|\\\((?P<c>(?:[^\\\n]|\\[^()\n]){1,800})\\\)|(?<!\\)\$(?P<d>[^$\n]{1,800}?)(?<!\\)\$"
)
_NUMBER = re.compile(
    r"(?<![\w.\\])[-+−]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+(?:\.\d+)?)?(?:\s*\\?%|\s+percent)?(?!\w)"
)
_SENTENCE_END = re.compile(r"\.(?=\s|$)|\n|(?<=\d), (?:not|but|because|since|which)\b")
_CLOSING_REMARK = re.compile(r"(?:I hope (?:it|this) is correct\.?|<\|[a-z_]+\|>\w*|</s>)\s*$")
_CONCLUSION = re.compile(r"\b(?:Therefore|Thus|So|Hence|In conclusion|Consequently|In total)\b|\btherefore\b")
_AMOUNT = re.compile(r"\bthere (?:are|is|were)\s+(?:exactly |a total of |only )?(?=\d)", re.IGNORECASE)
_UNIT_AT_END = re.compile(r"(?:\s+[a-z]+){0,2}[\s.%]*")
_LED_IN = re.compile(rf"(?P<lead>[A-Za-z .,:']*(?:[A-Za-z]{{2}}|\.\.\.|[=:])\s*)(?:{_MATH.pattern})[\s.]*")
_DENIED = re.compile(r"\b(?:no|not|never|if|or|[a-z]+n't)\b", re.IGNORECASE)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")


def stated(text: str) -> str | None:
    """The answer that a response announces, concludes with, or consists of."""
    tail = _without_remarks(text[-TAIL:])
    for pattern in (_TAGGED, _JSON, _HASHES):
        if found := pattern.findall(tail):
            return str(found[-1]).strip()
    announced = list(_ANNOUNCED.finditer(tail))
    if announced and (answer := _what_follows(tail[announced[-1].end() :])):
        return answer
    return _bare(tail) or _only_formula(tail) or _concluded(tail)


def announced_after_box(text: str) -> str | None:
    """ "The final answer is 5." after the last box: the answer of a response that boxes its intermediate results."""
    tail = _without_remarks(text[-TAIL:])
    found = [m for m in _ANNOUNCED.finditer(tail) if "final" in m.group().lower()]
    return _what_follows(tail[found[-1].end() :]) if found else None


def guess(text: str) -> str | None:
    """The last formula or number, whichever comes later."""
    tail = _without_remarks(text[-TAIL:])
    formulas = list(_MATH.finditer(tail))
    rest = tail[formulas[-1].end() :] if formulas else tail
    numbers = _NUMBER.findall(rest)
    if numbers:
        return str(numbers[-1])
    return _content(formulas[-1], tail) if formulas else None


def _without_remarks(text: str) -> str:
    text = text.strip()
    while match := _CLOSING_REMARK.search(text[-60:]):
        text = text[: len(text) - len(text[-60:]) + match.start()].rstrip()
    return text


def _content(match: re.Match[str], text: str) -> str:
    """A formula without its delimiters, with a percent sign or word that follows it."""
    inside = next(found for name in "abcd" if (found := match.group(name)) is not None)
    after = re.match(r"\s*(\\?%|percent\b)", text[match.end() :])
    return inside.strip() + (" percent" if after else "")


def _what_follows(text: str) -> str | None:
    """What is announced: a formula if one comes first, else the sentence, from its last "is" on."""
    formula = _MATH.match(text)
    if formula:
        return _content(formula, text)
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0]
    sentence = re.split(r"\b(?:is|are|equals)\s+", sentence)[-1].strip().strip("*\\]").strip()
    inner = list(_MATH.finditer(sentence))
    return _content(inner[-1], sentence) if inner else sentence.rstrip(".,;:! ") or None


def _bare(text: str) -> str | None:
    """A response that is nothing but an answer."""
    if len(text) > BARE or "\n" in text.strip("$ \n") or _WORD.search(text.replace("percent", "")):
        return None
    if (led := _LED_IN.fullmatch(text)) and not _DENIED.search(led.group("lead")):
        return _content(led, text)
    return text if re.search(r"[0-9A-Za-z\\]", text) and text.count("$") != 3 else None


def _only_formula(text: str) -> str | None:
    """The one formula of a short response, or of its last sentence."""
    last = re.split(r"(?<=[.!?])\s+|\n\n", text)[-1] if len(text) > BARE else text
    formulas = list(_MATH.finditer(last))
    return _content(formulas[0], last) if len(formulas) == 1 and len(last) <= 2 * BARE else None


def _concluded(text: str) -> str | None:
    """ "Therefore, the probability is 2/3." and "So there are 12 of them." as the last sentence."""
    sentence = re.split(r"(?<=[.!?])\s+|\n", text)[-1]
    if not (starts := list(_CONCLUSION.finditer(sentence))):
        return None
    sentence = sentence[starts[-1].end() :]
    amount = _AMOUNT.search(sentence)
    if amount and (number := _NUMBER.match(sentence, amount.end())):
        return number.group()
    formulas = list(_MATH.finditer(sentence))
    if formulas and not sentence[formulas[-1].end() :].strip(" ."):
        return _content(formulas[-1], sentence)
    numbers = list(_NUMBER.finditer(sentence.replace("*", " ")))
    if numbers and _UNIT_AT_END.fullmatch(sentence.replace("*", " "), numbers[-1].end()):
        return numbers[-1].group()
    return None
