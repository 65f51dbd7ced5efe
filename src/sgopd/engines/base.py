"""What every engine can do: sample responses, and score given ones. Knows no model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """One sampled response.

    token_ids: the response alone, EOS included when finish_reason is ``stop``. logprobs: of each sampled token, in nats,
    under the temperature-1, untruncated distribution.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: Literal["stop", "length"]


class Sampling(Protocol):
    """How responses are drawn; ``sgopd.config.Sampling`` is one."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def max_new_tokens(self) -> int: ...


class Engine(Protocol):
    """A model that samples and scores. Results don't depend on how sequences are batched."""

    def sample(self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int]) -> list[Rollout]:
        """One rollout per (prompt, seed); repeat a prompt for a group."""
        ...

    def score(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[list[float]]:
        """Log-probs (nats, temperature 1) of the response tokens, one list per sequence."""
        ...


class LiveEngine(Engine, Protocol):
    """An engine whose weights follow a model in training."""

    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take over all weights before the next call."""
        ...

    def sleep(self) -> None:
        """Give back what memory it can until the next ``update``."""
        ...
