"""Weights, optimiser state and the rows logged so far, written as one folder that is whole or absent (safetensors only)."""

import contextlib
import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from sgopd.store import atomic_write_text


@dataclass
class Progress:
    """What a run has done so far: the next step, and the rows of its tables (as Python values, JSON)."""

    step: int
    metrics: list[dict[str, Any]] = field(default_factory=list)
    gate_tokens: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@contextlib.contextmanager
def asked_to_leave() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether SIGTERM (a cancelled job, a time limit) has come. Inside, the signal does nothing
    else, so that the step under way is finished and can be saved."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def save_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Write AdamW's moments and step counts as named tensors ``<parameter index>.<name>``."""
    state = optimiser.state_dict()["state"]
    save_file(
        {f"{i}.{name}": value.contiguous() for i, values in state.items() for name, value in values.items()}, path
    )


def load_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Read what ``save_optimiser`` wrote into a fresh optimiser over the same parameters; its settings stay."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(path).items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


class Checkpoints:
    """The checkpoints of one unfinished job; only the newest is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self) -> Path | None:
        """Folder of the newest whole checkpoint."""
        whole = [path.parent for path in self.folder.glob("step*/progress.json")]
        return max(whole, default=None)

    def save(self, model: Any, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Write a checkpoint, then remove the older ones. ``progress.json`` comes last: with it, the folder is whole."""
        target = self.folder / f"step{progress.step:07d}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        model.save_pretrained(target / "model")
        save_optimiser(optimiser, target / "optimiser.safetensors")
        atomic_write_text(target / "progress.json", json.dumps(progress.__dict__))
        for older in self.folder.glob("step*"):
            if older != target:
                shutil.rmtree(older, ignore_errors=True)

    @staticmethod
    def read_progress(folder: Path) -> Progress:
        return Progress(**json.loads((folder / "progress.json").read_text()))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
