"""What must hold of the rollouts of every engine."""

from collections.abc import Sequence

from sgopd.engines.base import Rollout


def ends_at_eos_or_limit(rollouts: Sequence[Rollout], eos: int, limit: int) -> None:
    """Both ends occur, and each rollout ends where its finish reason says."""
    assert {rollout.finish_reason for rollout in rollouts} == {"stop", "length"}
    for rollout in rollouts:
        assert eos not in rollout.token_ids[:-1]
        assert (rollout.token_ids[-1] == eos) == (rollout.finish_reason == "stop")
        assert len(rollout.token_ids) == limit or rollout.finish_reason == "stop"
