"""Whether a gold answer is one that the verifier can read, to be asked before a problem is trained on. Bounded time."""

from sgopd.verifier.cheap import gold_answer
from sgopd.verifier.nodes import TooLargeError, UnreadableError
from sgopd.verifier.normalise import MAX_ANSWER, clean, read_number
from sgopd.verifier.words import is_text

MAX_WORDS = 4  # a longer text would have to be repeated word by word


def readable_gold(answer: str) -> bool:
    """True if other spellings of this answer can be recognised: a number, a formula, a set, a few words."""
    gold = gold_answer(answer)
    if len(gold) > MAX_ANSWER:
        return False
    cleaned = clean(gold)
    if read_number(cleaned):
        return True
    from sgopd.verifier.parser import parse  # here: most golds are numbers

    try:
        readable = parse(cleaned).op != "text"
    except (UnreadableError, TooLargeError, RecursionError):
        readable = False
    return readable or (is_text(cleaned) and len(cleaned.split()) <= MAX_WORDS)
