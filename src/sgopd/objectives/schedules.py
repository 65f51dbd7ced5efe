"""Phased teacher sampling: the weight gamma(s) of verified teacher rollouts over the steps, METHOD section 3.

In: a step and the number of steps; out: a weight or a phase. The phases and the cosine are the paper's, the
default numbers are ours. Knows nothing about rollouts or losses.
"""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TeacherSchedule:
    """gamma(s) in three phases: I hold, II decay, III none (pure on-policy).

    ``kind``: ``cosine``: hold gamma0, then cosine to zero; ``linear``: the same with a straight line;
    ``constant``: gamma0 at every step; ``off``: 0 at every step.
    ``hold``, ``end``: s1 and s2 as shares of all steps, 0 <= hold <= end <= 1.
    """

    kind: Literal["cosine", "linear", "constant", "off"] = "cosine"
    gamma0: float = 0.1
    hold: float = 0.10
    end: float = 0.40

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "linear", "constant", "off"):
            raise ValueError(f"schedule kind = {self.kind!r}: must be one of cosine, linear, constant, off")
        if not 0 <= self.hold <= self.end <= 1:
            raise ValueError(f"hold = {self.hold}, end = {self.end}: shares of the steps, 0 <= hold <= end <= 1")
        if not (math.isfinite(self.gamma0) and self.gamma0 >= 0):
            raise ValueError(f"gamma0 = {self.gamma0}: must be 0 or above")

    def boundaries(self, steps: int) -> tuple[int, int]:
        """(s1, s2): phase I is [0, s1), II is [s1, s2), III is [s2, steps)."""
        return round(self.hold * steps), round(self.end * steps)

    def phase(self, step: int, steps: int) -> int:
        """1, 2 or 3 for step 0 <= step < steps. The boundaries are the same for every kind of schedule."""
        s1, s2 = self.boundaries(steps)
        return 1 if step < s1 else 2 if step < s2 else 3

    def gamma(self, step: int, steps: int) -> float:
        """Weight of the teacher's rollouts at a step, 0 <= step < steps."""
        if self.kind in ("constant", "off"):
            return self.gamma0 if self.kind == "constant" else 0.0
        s1, s2 = self.boundaries(steps)
        if step < s1:
            return self.gamma0
        if step >= s2:
            return 0.0
        done = (step - s1) / (s2 - s1)
        return self.gamma0 * ((1 + math.cos(math.pi * done)) / 2 if self.kind == "cosine" else 1 - done)
