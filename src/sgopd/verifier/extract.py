"""From a response to its final answer, in time linear in its length. Knows nothing of the gold answer.

In: the response's text and how far to go (boxed | stated | guess). Out: the answer's text, or why there is none.
"""

import re
from dataclasses import dataclass

from sgopd.verifier.boxes import COMMAND, Box, final_group, find_boxes
from sgopd.verifier.stated import announced_after_box, guess, stated
from sgopd.verifier.types import Extract

MAX_RESPONSE = 1_000_000  # characters; of a longer response only the end is read

TURN_END = re.compile(r"(?:<\|(?:im_end|im_start|endoftext|eot_id|end_of_text)\|>|</s>|<eos>|<end_of_turn>)(?!\s*\})")
PERCENT = re.compile(r"[\s$]*(?:\\?%|\\text\{\s*percent|percent\b)")
SPEAKER = re.compile(r"^[ \t]*(?:Human|User|Question|Q)[ \t]*:", re.MULTILINE)
THOUGHT_END = re.compile(r"</think(?:ing)?>|<\|end_of_thought\|>")
THOUGHT_START = re.compile(r"<think(?:ing)?>|<\|begin_of_thought\|>")


@dataclass(frozen=True)
class Extraction:
    """``answer`` is None when there is none; ``reason`` says where it was found, or why not."""

    answer: str | None
    reason: str
    percent: bool = False  # a percent sign stands right behind the box


def extract(response: str, how: Extract) -> Extraction:
    """The final answer of a response. Only what comes after closed reasoning (``</think>``) counts."""
    text, unfinished = final_text(response[-MAX_RESPONSE:])
    if unfinished:
        return Extraction(None, "the reasoning is never closed")
    boxes = find_boxes(text)
    if how == "boxed":
        return _from_boxes(text, boxes) if boxes else Extraction(None, "no \\boxed{}")
    if boxes:
        later = announced_after_box(text[boxes[-1].end :])
        return _from_boxes(text, boxes) if later is None else Extraction(later, "stated after the last box")
    found = stated(text)
    if found is None and how == "guess":
        found = guess(text)
    return Extraction(found, "stated" if found is not None else "no answer is stated")


def final_text(response: str) -> tuple[str, bool]:
    """What comes after the reasoning and before the end of the turn; True when the reasoning is never closed."""
    ends = list(THOUGHT_END.finditer(response))
    if ends:
        response = response[ends[-1].end() :]
    start = THOUGHT_START.search(response)
    if start:
        return response[: start.start()], True
    started = _without_leading_marker(response)
    turn = TURN_END.search(started)
    return _before_next_question(started[: turn.start()] if turn else response), False


def _before_next_question(text: str) -> str:
    """A model that was not stopped goes on as the user: what it boxes then is no answer to the question that it was asked."""
    box = COMMAND.search(text)
    speaker = SPEAKER.search(text, box.end()) if box else None
    return text[: speaker.start()] if speaker else text


def _without_leading_marker(response: str) -> str:
    return re.sub(r"\A(?:\s|<\|[a-z_]+\|>(?:assistant|user)?)+", "", response)


def _from_boxes(text: str, boxes: list[Box]) -> Extraction:
    if boxes[-1].content is None:
        return Extraction(None, "the last \\boxed{} is never closed")
    contents: list[str] = []
    for box in final_group(text, boxes):
        if box.content is None:
            return Extraction(None, "a \\boxed{} of the final answer is never closed")
        content = box.content.strip(" \t")
        if content.strip() and content not in contents:
            contents.append(content)
    if not contents:
        return Extraction(None, "the last \\boxed{} is empty")
    reason = "last box" if len(contents) == 1 else f"{len(contents)} boxes of the final answer"
    percent = len(contents) == 1 and PERCENT.match(text, boxes[-1].end) is not None
    return Extraction(", ".join(contents), reason, percent)
