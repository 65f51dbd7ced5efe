"""What every engine can do: sample responses, and score given ones. Knows no model."""

from collections.abc import Callable, Iterable, Sequence
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


Finished = Callable[[int, Rollout], None]  # place of the prompt, its rollout


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

    def sample(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Rollout]:
        """One rollout per (prompt, seed); repeat a prompt for a group. ``finished`` hears of each as soon as it is complete."""
        ...

    def begin(self, prompt: list[int], response: list[int]) -> None:
        """Start to score this response, for a later ``score``, where that costs this process nothing; else nothing."""
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
