"""NaN and infinity: found before they do harm, and saved with the batch that led to them.

In: rollouts, batches, weights. Out: nothing, or a NotFinite error and a folder for whoever looks into it.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sgopd.engines.base import Rollout
from sgopd.errors import NotFinite
from sgopd.store import atomic_path, atomic_write_text
from sgopd.training.batch import Batch
from sgopd.training.data import TeacherSample


def check_rollouts(prompts: Sequence[list[int]], rollouts: Sequence[Rollout], model: str, folder: Path) -> None:
    """Every log-prob of a sampled token is finite; else the rollouts are saved in ``folder`` and named in the error."""
    bad = [i for i, rollout in enumerate(rollouts) if not all(map(math.isfinite, rollout.logprobs))]
    if bad:
        rows = [
            {
                "prompt_ids": prompts[i],
                "response_ids": rollouts[i].token_ids,
                "logprobs": list(map(str, rollouts[i].logprobs)),
            }
            for i in bad
        ]
        atomic_write_text(folder / "rollouts.json", json.dumps({"model": model, "rollouts": rows}, indent=1) + "\n")
        raise NotFinite(
            f"{model}: {len(bad)} of {len(rollouts)} rollouts have log-probs that are no numbers, so its weights are damaged or "
            f"its dtype is too narrow. They are saved in {folder}/rollouts.json; check the model, or set models.dtype: float32."
        )


def check_batch(batch: Batch) -> None:
    """Every log-prob of the batch is finite; NotFinite says whose are not, and where first."""
    for name, values in (("student", batch.logp_s), ("teacher", batch.logp_t), ("reference policy", batch.logp_ref)):
        if values is not None and not torch.isfinite(values).all():
            row, token = (~torch.isfinite(values)).nonzero()[0].tolist()
            raise NotFinite(
                f"log-probs of the {name} are no numbers, first {values[row, token].item()} at token {token} of rollout {row} "
                f"(prompt {batch.prompts[row].prompt_id}). Check that model, or set models.dtype: float32."
            )


def check_weights(model: torch.nn.Module) -> None:
    """Every weight is finite; of a sharded model this process's part."""
    for name, parameter in model.named_parameters():
        own: Any = parameter.detach()
        own = own.to_local() if hasattr(own, "to_local") else own
        # a sum reads each weight once and makes nothing; only where it is no number is every weight looked at
        if not torch.isfinite(own.sum()) and not torch.isfinite(own).all():
            raise NotFinite(f"after the update the weights {name} are no numbers. Lower training.optimiser.lr.")


def save_evidence(
    folder: Path, step: int, error: NotFinite, batch: Batch | None, advantage: torch.Tensor | None,
    samples: Sequence[TeacherSample],
) -> None:  # fmt: skip
    """What the step worked on: batch.safetensors (tensors [B, T] or [B]) and batch.json (prompts, responses, verdicts)."""
    tensors: dict[str, torch.Tensor] = {}
    rows: list[dict[str, Any]] = []
    if batch is not None:
        found = {name: getattr(batch, name) for name in ("logp_s", "logp_t", "logp_ref", "mask", "group_id", "reward")}
        tensors = {name: value for name, value in (found | {"advantage": advantage}).items() if value is not None}
        rows = [
            {
                "prompt_id": prompt.prompt_id, "prompt_ids": prompt.token_ids, "response_ids": rollout.token_ids,
                "finish_reason": rollout.finish_reason, "verdict": verdict.verdict,
            }
            for prompt, rollout, verdict in zip(batch.prompts, batch.rollouts, batch.verdicts, strict=True)
        ]  # fmt: skip
    imitated = [{"prompt_id": sample.prompt.prompt_id, "response_ids": sample.response_ids} for sample in samples]
    content = {"step": step, "error": str(error), "rollouts": rows, "teacher_rollouts": imitated}
    with atomic_path(folder / "batch.safetensors") as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    atomic_write_text(folder / "batch.json", json.dumps(content, indent=1) + "\n")
