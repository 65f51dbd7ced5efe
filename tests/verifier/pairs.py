"""Reads the pairs of a gold answer and an answer in same.txt and different.txt: ``gold  ::  answer`` below ``[kind]``."""

from pathlib import Path

Pairs = dict[str, list[tuple[str, str]]]


def read_pairs(name: str) -> Pairs:
    pairs: Pairs = {}
    kind = ""
    for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]") and "::" not in line:
            kind = line[1:-1]
            pairs[kind] = []
        elif line:
            gold, answer = line.split("  ::  ")
            pairs[kind].append((gold, answer))
    return pairs


SAME, DIFFERENT = read_pairs("same.txt"), read_pairs("different.txt")
