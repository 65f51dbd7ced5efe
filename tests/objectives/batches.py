"""Random batches of rollouts for the tests: the keyword arguments of ``advantage`` and the reference's lists."""

import torch
from torch import Tensor

from .reference import Rollout

Inputs = dict[str, Tensor]


def random_inputs(seed: int, groups: int = 3, G: int = 4, T: int = 7, scale: float = 2.0) -> Inputs:
    """float64 log-probs of ragged rollouts; every second group at least has both right and wrong rollouts."""
    g = torch.Generator().manual_seed(seed)
    B = groups * G
    logp_s, logp_t, logp_ref = -scale * torch.rand(3, B, T, generator=g, dtype=torch.float64)
    reward = torch.randint(0, 2, (B,), generator=g).double()
    if G > 1:
        reward[:: 2 * G], reward[1 :: 2 * G] = 0.0, 1.0
    lengths = torch.randint(1, T + 1, (B,), generator=g)
    mask = torch.arange(T) < lengths[:, None]
    return {
        "logp_s": logp_s, "logp_t": logp_t, "logp_ref": logp_ref,
        "reward": reward, "group_id": torch.arange(B) // G, "mask": mask,
    }  # fmt: skip


def as_rollouts(inputs: Inputs) -> list[Rollout]:
    mask = inputs["mask"].bool()

    def active(name: str, row: int) -> list[float]:
        values: list[float] = inputs[name][row][mask[row]].tolist()
        return values

    return [
        Rollout(
            s=active("logp_s", row),
            t=active("logp_t", row),
            ref=active("logp_ref", row),
            R=float(inputs["reward"][row]),
            group=int(inputs["group_id"][row]),
        )
        for row in range(mask.shape[0])
    ]


def padded(rows: list[list[float]], inputs: Inputs) -> Tensor:
    """Per-rollout lists as [B, T], 0 where the mask is false."""
    values = torch.zeros_like(inputs["logp_s"])
    for row, (value, mask) in enumerate(zip(rows, inputs["mask"].bool(), strict=True)):
        values[row, mask] = torch.tensor(value, dtype=values.dtype)
    return values


def rows(inputs: Inputs, index: Tensor) -> Inputs:
    return {name: x[index] for name, x in inputs.items()}
