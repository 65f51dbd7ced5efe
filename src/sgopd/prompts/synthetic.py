"""The embedded task: chain arithmetic with a chain of thought, e.g. ``Compute 20-1+9+6`` -> ``... \\boxed{34}``.

Difficulty is the number of operations. Problems that subtract 7 form the category ``flawed``: a teacher can be trained to get
that step wrong (as -6), so that teacher and verifier disagree on an identifiable class. Knows no tokenizer and no model.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from sgopd.store import stream

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
LOWEST, HIGHEST = 0, 99  # range of every running value, so that a number has at most two digits
FLAWED_OPERAND = -7
PATIENCE = 30_000  # draws without a new chain until there are held to be no more


class SyntheticSource(BaseModel):
    """Chain-arithmetic problems, made on the spot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["synthetic"] = Field("synthetic", description="Marks problems that the pipeline makes itself.")
    count: int = Field(ge=1, description="Number of different problems.")
    operations: tuple[int, int] = Field((4, 6), description="Fewest and most operations of a problem.")

    @field_validator("operations")
    @classmethod
    def _ascending(cls, value: tuple[int, int]) -> tuple[int, int]:
        return ascending(value)


def ascending(value: tuple[int, int]) -> tuple[int, int]:
    """A range of numbers of operations as it is; ValueError for one that holds none."""
    if not 1 <= value[0] <= value[1]:
        raise ValueError(f"must be the fewest and the most, both at least 1, not {list(value)}")
    return value


@dataclass(frozen=True)
class Chain:
    """A problem: a start value and signed operands; every running value lies in LOWEST..HIGHEST."""

    start: int
    operands: tuple[int, ...]

    @property
    def expression(self) -> str:
        return f"{self.start}" + "".join(f"{operand:+d}" for operand in self.operands)

    @property
    def problem(self) -> str:
        return f"Compute {self.expression}"

    @property
    def answer(self) -> str:
        return str(self.start + sum(self.operands))

    @property
    def category(self) -> str:
        """``flawed`` if the problem holds the step that a flawed teacher gets wrong, else ``other``."""
        return "flawed" if FLAWED_OPERAND in self.operands else "other"

    @property
    def split(self) -> Split:
        """The hash of the expression decides, so that splits are disjoint by construction: 80 / 10 / 10 %."""
        bucket = hashlib.blake2b(self.expression.encode(), digest_size=2).digest()[0] % 10
        return "validation" if bucket == 8 else "test" if bucket == 9 else "train"


def draw(random: np.random.Generator, operations: int) -> Chain:
    """A chain of this many operations, uniform start and operands -9..9 without 0, kept inside the range."""
    value = start = int(random.integers(10, 60))
    operands: list[int] = []
    for _ in range(operations):
        allowed = [o for o in range(-9, 10) if o != 0 and LOWEST <= value + o <= HIGHEST]
        operand = allowed[int(random.integers(len(allowed)))]
        operands.append(operand)
        value += operand
    return Chain(start, tuple(operands))


def problems(seed: int, split: Split, count: int, operations: tuple[int, int]) -> list[Chain]:
    """``count`` different chains of a split with between ``operations[0]`` and ``operations[1]`` operations.

    A longer list begins with the shorter one. Raises ValueError if there are not enough different chains.
    """
    random = stream(seed, "synthetic", split, *operations)
    found: dict[str, Chain] = {}
    in_vain = 0  # draws since the last new chain
    while in_vain < max(PATIENCE, 300 * len(found)):
        chain = draw(random, int(random.integers(operations[0], operations[1] + 1)))
        in_vain += 1
        if chain.split == split and chain.expression not in found:
            found[chain.expression] = chain
            in_vain = 0
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"only {len(found)} of {count} different {split} problems with {operations} operations were found")


@dataclass(frozen=True)
class Writer:
    """How solutions of a training corpus are written.

    terse: share of solutions that list running values only (another habit of style). step_error: chance that a step's result
    is off by -2..2. flaw: chance that a step -7 is computed as -6. Errors carry on: the chain goes on from the wrong value.
    """

    terse: float = 0.0
    step_error: float = 0.0
    flaw: float = 0.0

    def solution(self, chain: Chain, random: np.random.Generator) -> str:
        """One solution, ending in \\boxed{...}; right unless an error was drawn."""
        value, lines = chain.start, []
        terse = random.random() < self.terse
        for operand in chain.operands:
            result = value + operand
            if operand == FLAWED_OPERAND and random.random() < self.flaw:
                result += 1
            if random.random() < self.step_error:
                result += int(random.choice([-2, -1, 1, 2]))
            result = min(max(result, LOWEST), HIGHEST)
            lines.append(f"{result}" if terse else f"{value}{operand:+d}={result}")
            value = result
        return (",".join(lines) if terse else "\n".join(lines)) + f"\n\\boxed{{{value}}}"
