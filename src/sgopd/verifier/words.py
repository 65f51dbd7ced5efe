"""Answers in words: multiple-choice letters, yes and no, "no solution", and other text, compared after folding."""

import re

CHOICE_GOLD = re.compile(r"\(?([A-Ja-d])\)?[.:]?")
CHOICE_ANSWER = re.compile(r"(?:\(([A-Ja-j])\)|([A-Ja-j])(?=\)|[.:](?:\s|$)|$))[).:]?(?P<rest>.*)", re.DOTALL)
_WRAPPER = re.compile(r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mbox|textsf|texttt|rm|emph)\s*(?=\{)")
_TEXT = re.compile(r"[A-Za-z0-9 .,;:!?'\-()]*[A-Za-z]{2}[A-Za-z0-9 .,;:!?'\-()]*")
_NOT_WORD = re.compile(r"[^0-9a-z\-(),]+")
_SYNONYMS = {
    "no solution": {"no solution", "no solutions", "there is no solution", "there are no solutions", "no solution exists",
                    "no solutions exist", "has no solution", "has no solutions", "no such solution exists"},
    "no real solution": {"no real solution", "no real solutions", "there are no real solutions", "there is no real solution"},
    "does not exist": {"does not exist", "dne", "it does not exist", "limit does not exist", "doesn t exist"},
    "yes": {"yes", "y"},
    "no": {"no"},
    "true": {"true"},
    "false": {"false"},
    "none": {"none", "none exist", "there are none", "none of these", "none of the above"},
    "infinitely many": {"infinitely many", "infinitely many solutions", "infinite number of solutions", "infinitely many exist"},
}  # fmt: skip
_FOLD = {form: name for name, forms in _SYNONYMS.items() for form in forms}


def _unwrapped(cleaned: str) -> str:
    text = _WRAPPER.sub("", cleaned).replace("{", " ").replace("}", " ").strip()
    return text[1:-1] if text.startswith("(") and text.endswith(")") and text.count("(") == 1 else text


def plain_words(text: str) -> str:
    """Lower case, without punctuation and articles; sayings that mean the same folded into one."""
    text = _NOT_WORD.sub(" ", text.lower()).replace(",", " , ").rstrip(" ,")
    words = [w for w in text.split() if w not in ("the", "a", "an")]
    for start in (["answer", "is"], ["final", "answer", "is"]):
        if words[: len(start)] == start:
            words = words[len(start) :]
    folded = " ".join(words)
    return _FOLD.get(folded, folded)


_SETS = {"empty": {"empty set", "null set"}, "R": {"all real numbers", "all reals", "real numbers", "set of all real numbers",
                                                   "set of real numbers", "any real number", "every real number"}}  # fmt: skip


def named_set(text: str) -> str | None:
    """``R`` or ``empty`` for words that name such a set."""
    folded = plain_words(text)
    return next((name for name, forms in _SETS.items() if folded in forms), None)


def is_text(cleaned: str) -> bool:
    """Words, and no formula."""
    return _TEXT.fullmatch(_unwrapped(cleaned)) is not None


def same_words(gold: str, answer: str) -> bool:
    """Both are text with at least one word, without formulas, and the same."""
    left, right = _unwrapped(gold), _unwrapped(answer)
    return bool(_TEXT.fullmatch(left) and _TEXT.fullmatch(right)) and plain_words(left) == plain_words(right)


def choice(gold: str, answer: str) -> bool | None:
    """For a gold that is one letter A-J: whether the answer picks it; None if the gold, or the answer, is no choice."""
    unwrapped = _WRAPPER.sub("", gold).replace("{", "").replace("}", "").strip()
    wanted = CHOICE_GOLD.fullmatch(unwrapped)
    if not wanted:
        return None
    picked = CHOICE_ANSWER.fullmatch(_WRAPPER.sub("", answer).replace("{", "").replace("}", "").strip())
    if not picked or re.search(r"(?<![A-Za-z])\(?[A-J]\)?(?![A-Za-z])", picked.group("rest")):
        return None
    return (picked.group(1) or picked.group(2)).upper() == wanted.group(1).upper()
