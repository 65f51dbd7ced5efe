"""What must hold of the rollouts of every engine."""

from collections.abc import Sequence

from sgopd.config import Sampling
from sgopd.engines.base import Engine, Rollout


def ends_at_eos_or_limit(rollouts: Sequence[Rollout], eos: int, limit: int) -> None:
    """Both ends occur, and each rollout ends where its finish reason says."""
    assert {rollout.finish_reason for rollout in rollouts} == {"stop", "length"}
    for rollout in rollouts:
        assert eos not in rollout.token_ids[:-1]
        assert (rollout.token_ids[-1] == eos) == (rollout.finish_reason == "stop")
        assert len(rollout.token_ids) == limit or rollout.finish_reason == "stop"


def hears_of_each_rollout_when_it_ends(engine: Engine, prompts: Sequence[list[int]], limit: int) -> None:
    """Of each once, as it is returned, and of a short one before the longest."""
    heard: list[tuple[int, Rollout]] = []
    rollouts = engine.sample(
        prompts, Sampling(max_new_tokens=limit), range(len(prompts)), lambda *one: heard.append(one)
    )
    assert dict(heard) == dict(enumerate(rollouts)) and len(heard) == len(rollouts)
    lengths = [len(rollout.token_ids) for _, rollout in heard]
    assert min(lengths) < max(lengths) and lengths[0] < lengths[-1]
