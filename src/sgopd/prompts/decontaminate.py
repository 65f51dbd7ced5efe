"""Which training problems stand, whole or in part, in a benchmark: the same text, or a run of 13 words.

In: rows of training problems and of benchmarks. Out: the offending pairs. Knows nothing of files or models.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

N = 13  # words in a run that counts as copied (GPT-3, https://arxiv.org/abs/2005.14165, appendix C)
PHRASE = 3  # a run that stands in so many different benchmark problems is a phrase ("where m and n are relatively prime ...")

_LAYOUT = re.compile(r"\s+|\$|\\[()\[\],;:! ]|\\(?:left|right|displaystyle|quad|qquad)(?![a-z])|~")
_WORD = re.compile(r"[a-z]+|\d+")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Overlap:
    """A training problem and the benchmark problem that it shares text with; ``text``: the shared words."""

    prompt_id: str
    benchmark: str
    benchmark_id: str
    kind: Literal["exact", "13-gram"]
    text: str


def same_text_key(problem: str) -> str:
    """What two copies of one problem have in common: their characters without layout, spaces and case."""
    return _LAYOUT.sub("", problem.lower().replace("dfrac", "frac").replace("tfrac", "frac")).rstrip(".?!:;,")


def word_runs(problem: str) -> Iterator[tuple[str, ...]]:
    """Every run of 13 words. Letters and numbers count as words, signs and layout do not."""
    words = _WORD.findall(problem.lower())
    for start in range(len(words) - N + 1):
        yield tuple(words[start : start + N])


def phrases(benchmarks: Mapping[str, Sequence[Row]]) -> list[str]:
    """The runs of 13 words that stand in so many benchmark problems that they do not count as copied."""
    return [" ".join(run) for run, count in _texts_with(benchmarks).items() if count >= PHRASE]


def find_overlaps(training: Sequence[Row], benchmarks: Mapping[str, Sequence[Row]]) -> list[Overlap]:
    """The first overlap of each training problem with each benchmark problem, exact ones before runs of words."""
    exact, runs = _index(benchmarks)
    overlaps: list[Overlap] = []
    for row in training:
        seen: set[tuple[str, str]] = set()
        for place in exact.get(same_text_key(row["problem"]), ()):
            seen.add(place)
            overlaps.append(Overlap(row["prompt_id"], *place, "exact", row["problem"]))
        for run in word_runs(row["problem"]):
            for place in runs.get(run, ()):
                if place not in seen:
                    seen.add(place)
                    overlaps.append(Overlap(row["prompt_id"], *place, "13-gram", " ".join(run)))
    return overlaps


Places = dict[Any, list[tuple[str, str]]]


def _index(benchmarks: Mapping[str, Sequence[Row]]) -> tuple[Places, Places]:
    exact: Places = defaultdict(list)
    runs: Places = defaultdict(list)
    for benchmark, rows in benchmarks.items():
        for row in rows:
            place = (benchmark, row["prompt_id"])
            exact[same_text_key(row["problem"])].append(place)
            for run in set(word_runs(row["problem"])):
                runs[run].append(place)
    texts = _texts_with(benchmarks)
    return dict(exact), {run: places for run, places in runs.items() if texts[run] < PHRASE}


def _texts_with(benchmarks: Mapping[str, Sequence[Row]]) -> Counter[tuple[str, ...]]:
    """In how many different problems each run of words stands; a problem that two benchmarks share is one."""
    texts = {same_text_key(row["problem"]): row["problem"] for rows in benchmarks.values() for row in rows}
    return Counter(run for problem in texts.values() for run in set(word_runs(problem)))
