"""Phased teacher sampling: how much of the teacher's rollouts enters at each step, METHOD section 3.

In: a step and the number of steps; out: a weight, a share of prompts, a phase. The phases and the cosine are the paper's,
the default numbers are ours. Knows nothing about rollouts or losses.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["off", "cosine", "linear", "constant", "share", "in_group"]


@dataclass(frozen=True)
class TeacherSchedule:
    """L_total = L_gate + gamma(s) L_CE(V) in three phases: I hold, II decay, III none (pure on-policy).

    ``kind``: ``cosine``: gamma holds at gamma0, then falls along a cosine to zero; ``linear``: the same with a straight
    line; ``constant``: gamma0 at every step; ``off``: 0 at every step. ``share``: gamma stays at gamma0 and the share of
    prompts whose teacher rollout enters follows the cosine, from all to none. ``in_group``: as ``cosine``, and in
    phases I and II the teacher's rollouts are members of their prompts' groups in every group statistic.
    ``hold``, ``end``: s1 and s2 as shares of all steps, 0 <= hold <= end <= 1.
    """

    kind: Kind = "cosine"
    gamma0: float = 0.1
    hold: float = 0.10
    end: float = 0.40

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"schedule kind = {self.kind!r}: must be one of {', '.join(get_args(Kind))}")
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
        """Weight of L_CE at a step, 0 <= step < steps."""
        level = self._level(step, steps)
        return self.gamma0 * (level > 0 if self.kind == "share" else level)

    def share(self, step: int, steps: int) -> float:
        """Share of the step's prompts whose teacher rollouts enter, in [0, 1]."""
        level = self._level(step, steps)
        return level if self.kind == "share" else float(level > 0)

    def in_group(self, step: int, steps: int) -> bool:
        """Whether the teacher's rollouts join the group statistics at a step."""
        return self.kind == "in_group" and self._level(step, steps) > 0

    def _level(self, step: int, steps: int) -> float:
        """What is left of the teacher: 1 in phase I, falling in II, 0 in III."""
        if self.kind in ("constant", "off"):
            return float(self.kind == "constant")
        s1, s2 = self.boundaries(steps)
        if step < s1 or step >= s2:
            return float(step < s1)
        done = (step - s1) / (s2 - s1)
        return 1 - done if self.kind == "linear" else (1 + math.cos(math.pi * done)) / 2
