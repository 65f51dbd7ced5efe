"""LoRA (peft) on every linear layer of a model, in place, so that it stays the transformers model that everything else knows.

W' = W + (alpha / rank) B A. Weights leave merged, under the plain names. Knows no study.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from sgopd.errors import UserError
from sgopd.training.distributed import whole

NAME = "default"  # peft's own name of an only adapter


def add_adapters(model: Any, rank: int, alpha: float, seed: int) -> Any:
    """Freeze the model and put float32 adapters beside each linear layer but the head; B starts at 0, A from ``seed``."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError(
            "training.lora: peft is not installed. Install the extra: pip install -c constraints.txt '.[lora]'."
        ) from error
    head = model.get_output_embeddings()
    linear = [n for n, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head]
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings: dict[str, Any] = {"r": rank, "lora_alpha": alpha, "target_modules": linear}
        inject_adapter_in_model(LoraConfig(**settings), model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def plain_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Every weight whole, by its plain name, adapters merged into theirs. On a sharded model all processes must iterate."""
    merged = {
        f"{name}.base_layer.weight": module for name, module in model.named_modules() if hasattr(module, "base_layer")
    }
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        weight = whole(parameter)
        if name in merged:
            module = merged[name]
            a, b = whole(module.lora_A[NAME].weight), whole(module.lora_B[NAME].weight)
            weight = (weight.float() + module.scaling[NAME] * (b @ a)).to(weight.dtype)
        yield name.replace(".base_layer.", "."), weight


def as_stored(model: Any, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names and in the shapes of a checkpoint on disk, as vLLM reads them: in memory transformers keeps a
    mixture's experts in one tensor, on disk each has its own."""
    from transformers.core_model_loading import revert_weight_conversion

    for name, weight in weights:
        yield from revert_weight_conversion(model, {name: weight}).items()
