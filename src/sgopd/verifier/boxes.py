"""Finding \\boxed{...} in a response, in time linear in its length. Knows nothing of what stands inside."""

import re
from dataclasses import dataclass

MAX_BOXES = 32
COMMAND = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])[ \t\n]*")
BARE = re.compile(r"[A-Za-z0-9.+\-/]+")
WORDS_BETWEEN = re.compile(
    r"(?:and|or|for|part|parts|case|the|respectively|is|are|value|values|of|with|when|in|to)\b", re.I
)
NAME_BETWEEN = re.compile(r"[A-Za-z](?:_\{?[A-Za-z0-9]+\}?)?\s*=")
NOISE_BETWEEN = re.compile(
    r"\\[()\[\],;:! ]|\\(?:quad|qquad|text|textrm|mathrm|left|right|cup|land|lor)(?![A-Za-z])|[$\s,;:.&{}()~\-*]|\\\\"
    r"|\b[a-z0-9]{1,2}\)|\([a-z0-9]{1,3}\)"
)


@dataclass(frozen=True)
class Box:
    """``content`` is None for a box that is never closed; ``start``/``end`` are offsets in the response."""

    content: str | None
    start: int
    end: int


def find_boxes(text: str) -> list[Box]:
    """Every outermost box, first to last."""
    closing = _closing_braces(text)
    boxes: list[Box] = []
    position = 0
    while match := COMMAND.search(text, position):
        start, inside = match.start(), match.end()
        if inside < len(text) and text[inside] == "{":
            end = closing.get(inside)
            boxes.append(
                Box(None if end is None else text[inside + 1 : end], start, inside if end is None else end + 1)
            )
            position = inside + 1 if end is None else end + 1
        else:
            bare = BARE.match(text, inside)
            boxes.append(Box(bare.group().rstrip(".") if bare else None, start, bare.end() if bare else inside))
            position = bare.end() if bare else inside
    return boxes


def _closing_braces(text: str) -> dict[int, int]:
    """Offset of each closed ``{`` to that of its ``}``; escaped braces are text."""
    closing: dict[int, int] = {}
    open_at: list[int] = []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match.group() == "{":
            open_at.append(match.start())
        elif match.group() == "}" and open_at:
            closing[open_at.pop()] = match.start()
    return closing


def final_group(text: str, boxes: list[Box]) -> list[Box]:
    """The boxes that together are the final answer: the last one, and those that only connectives part from it.

    ``x=\\boxed{1}$ and $y=\\boxed{2}`` is one answer in two boxes; ``\\boxed{1}. But wait, ... \\boxed{2}`` is the answer 2.
    """
    group = [boxes[-1]]
    for box in reversed(boxes[:-1][-MAX_BOXES:]):
        if not _connects(text[box.end : group[0].start]):
            break
        group.insert(0, box)
    return group


def _connects(between: str) -> bool:
    if len(between) > 120:
        return False
    rest = NAME_BETWEEN.sub("", WORDS_BETWEEN.sub("", NOISE_BETWEEN.sub(" ", between)))
    return not rest.strip(" $\\\n")
