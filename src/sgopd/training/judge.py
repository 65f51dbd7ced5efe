"""Verdicts on a batch of rollouts, each process checking its part. Knows no model."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sgopd.engines.base import Rollout
from sgopd.prompts.render import Prompt
from sgopd.training.distributed import gather, rank, world
from sgopd.verifier import Verdict, VerifierOptions, verify


def judge(
    prompts: Sequence[Prompt], rollouts: Sequence[Rollout], tokenizer: Any, options: VerifierOptions
) -> list[Verdict]:
    """One verdict per rollout, in their order, on every process."""
    mine = range(rank(), len(rollouts), world())
    texts = tokenizer.batch_decode([rollouts[i].token_ids for i in mine], skip_special_tokens=True)
    truncated = [rollouts[i].finish_reason == "length" for i in mine]
    verdicts = verify([prompts[i].answer for i in mine], texts, truncated, options)
    if world() == 1:
        return verdicts
    names = ["verdict", "answer", "reason"]
    columns = [[getattr(verdict, name) for verdict in verdicts] for name in names]
    tables = gather(
        pa.table([pa.array(list(mine), pa.int64()), *(pa.array(c, pa.string()) for c in columns)], ["place", *names])
    )
    rows = sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["place"])
    return [Verdict(row["verdict"], row["answer"], row["reason"]) for row in rows]
