"""What the verifier takes and gives: its options (limits and policies) and its verdict.

Knows nothing of LaTeX or processes. The policies are explained with examples in docs/verifier.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

VerdictName = Literal["correct", "incorrect", "no_answer", "truncated", "timeout", "error"]
Extract = Literal["boxed", "stated", "guess"]


@dataclass(frozen=True)
class Verdict:
    """The judgement of one response. ``seconds``: time spent on comparing it (0 when read from the cache)."""

    verdict: VerdictName
    answer: str
    reason: str
    seconds: float = 0.0


@dataclass(frozen=True)
class VerifierOptions:
    """Limits and policies. The first five never change a verdict other than to ``timeout`` or ``error``.

    workers: processes for answers that the cheap exact paths leave open; none is started before it is needed.
    timeout_s: hard wall-clock limit for one answer, in seconds; the process is killed and replaced.
    memory_mb: hard limit on a worker's address space, in MiB; the symbolic engine alone takes about 250.
    cache_path: SQLite file of earlier verdicts, shared by any number of processes.
    extract: ``boxed`` takes the last \\boxed{} of the final answer only (training); ``stated`` also takes an answer
        that the response announces ("The answer is 5", "#### 5", a bare answer); ``guess`` falls back on the last
        formula or number (evaluation of models that were not asked for a box).
    decimal_places: accept answers that agree when rounded to so many decimal places; None: exact, but for golds that
        are decimals themselves (see docs).
    """

    workers: int = 1
    timeout_s: float = 4.0
    memory_mb: int = 1024
    cache_path: Path | None = None
    extract: Extract = "boxed"
    decimal_places: int | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 or self.timeout_s <= 0 or self.memory_mb < 512:
            raise ValueError(f"need workers >= 1, timeout_s > 0 and memory_mb >= 512, got {self}")
        if self.extract not in ("boxed", "stated", "guess"):
            raise ValueError(f"extract must be boxed, stated or guess, got {self.extract!r}")
