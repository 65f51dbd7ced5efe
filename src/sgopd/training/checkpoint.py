"""Weights, optimiser state and the rows logged so far, written as one folder that is whole or absent (safetensors only).

A checkpoint written by any number of processes can be read by any other number. Not torch.distributed.checkpoint: its
metadata is a pickle.
"""

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sgopd.engines.forward import is_sharded
from sgopd.errors import UserError
from sgopd.store import MANIFEST, atomic_write_text, clear, finish, verify
from sgopd.training.adapters import as_stored, plain_weights
from sgopd.training.distributed import barrier, first, rank, whole, world

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """What a run has done so far: the next step, the rows of its tables, and the state of a random stream that goes through its
    steps, where there is one (as Python values, JSON)."""

    step: int
    metrics: list[dict[str, Any]] = field(default_factory=list)
    gate_tokens: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    random: dict[str, Any] | None = None


def save_model(model: Any, folder: Path) -> None:
    """Write the whole model as transformers and vLLM load it: config.json and plain safetensors, adapters merged.

    Several processes write one file each, every tensor whole in one of them (the hub's own layout of sharded weights), so that
    any number of processes can read it. All processes must call.
    """
    if not is_sharded(model) and not any(".lora_" in name for name, _ in model.named_parameters()):
        model.save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    places, size = {}, 0
    own: dict[str, torch.Tensor] = {}
    for i, weight in enumerate(plain_weights(model)):
        for name, tensor in as_stored(model, [weight]):
            places[name] = _part("model", i % world())
            size += tensor.numel() * tensor.element_size()
            if i % world() == rank():
                own[name] = tensor.cpu().contiguous()
    save_file(own, folder / _part("model", rank()), metadata={"format": "pt"})
    if first():
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
        if world() > 1:
            index = {"metadata": {"total_size": size}, "weight_map": places}
            atomic_write_text(
                folder / "model.safetensors.index.json", json.dumps(index, indent=1, sort_keys=True) + "\n"
            )


def _part(name: str, process: int) -> str:
    return f"{name}-{process + 1:05d}-of-{world():05d}.safetensors" if world() > 1 else f"{name}.safetensors"


def save_adapters(model: Any, folder: Path) -> None:
    """Write the trained adapters alone as adapters.safetensors; nothing for a model without. All processes must call."""
    tensors = {n: whole(p).cpu().contiguous() for n, p in model.named_parameters() if ".lora_" in n}
    if tensors and first():
        save_file(tensors, folder / "adapters.safetensors")


def load_adapters(model: Any, folder: Path) -> None:
    """Read what ``save_adapters`` wrote into a model with the same adapters, sharded or not."""
    saved = load_file(folder / "adapters.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(_like(parameter, saved[name]))


def save_optimiser(optimiser: torch.optim.Optimizer, folder: Path) -> None:
    """Write AdamW's moments and step counts as named tensors ``<parameter index>.<name>``, one file per process, every tensor
    whole in one of them. All processes must call."""
    own: dict[str, torch.Tensor] = {}
    for i, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            tensor = whole(value)
            if i % world() == rank():
                own[f"{i}.{name}"] = tensor.cpu().contiguous()
    save_file(own, folder / _part("optimiser", rank()))


def load_optimiser(optimiser: torch.optim.Optimizer, folder: Path) -> None:
    """Read what ``save_optimiser`` wrote, with however many processes, into a fresh optimiser over the same parameters; its
    settings stay."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for path in sorted(folder.glob("optimiser*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                index, _, name = key.partition(".")
                tensor = file.get_tensor(key)
                like = _like(parameters[int(index)], tensor) if tensor.dim() else tensor
                state.setdefault(int(index), {})[name] = like
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _like(parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` on the parameter's device, or this process's part of it if the parameter is sharded."""
    tensor = tensor.to(parameter.device)
    if not hasattr(parameter, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    placed: Any = parameter
    return distribute_tensor(tensor, placed.device_mesh, placed.placements, src_data_rank=None)


class Checkpoints:
    """The checkpoints of one unfinished job; only the newest is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self) -> Path | None:
        """Folder of the newest whole checkpoint; a damaged one is named in the log and removed. All processes must call."""
        if first():
            for manifest in self.folder.glob(f"step*/{MANIFEST}"):
                try:
                    verify(manifest.parent)
                except UserError as error:
                    logger.warning("%s It is not used.", error)
                    clear(manifest.parent)
        barrier()
        return max((path.parent for path in self.folder.glob(f"step*/{MANIFEST}")), default=None)

    def save(self, model: Any, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Write a checkpoint, its manifest last, then remove the older ones. One of this step that is there stays."""
        target = self.folder / f"step{progress.step:07d}"
        if (target / MANIFEST).is_file():
            return
        if first():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
        barrier()
        save_model(model, target / "model")
        save_adapters(model, target)
        save_optimiser(optimiser, target)
        barrier()
        if first():
            atomic_write_text(
                target / "progress.json", json.dumps(progress.__dict__, default=lambda array: array.tolist())
            )
            finish(target, "checkpoint", self.folder.name, {}, {"step": progress.step})
            for older in self.folder.glob("step*"):
                if older != target:
                    clear(older)
        barrier()

    @staticmethod
    def read_progress(folder: Path) -> Progress:
        return Progress(**json.loads((folder / "progress.json").read_text()))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
