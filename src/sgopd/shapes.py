"""What a model costs, from its config.json alone: parameters, bytes of weights and KV cache, FLOPs per token.

Parameters are counted on the model itself, built without memory. Knows no study and no machine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgopd.errors import UserError
from sgopd.pretrain import Recipe, build_model


@dataclass(frozen=True)
class Shape:
    """Sizes of a causal language model. ``active``: parameters that work on one token (fewer than all in a mixture of experts)."""

    parameters: int
    active: int
    layers: int
    hidden: int
    intermediate: int  # of the MLP that one token passes, all its active experts together
    attention: int  # heads x head size
    key_value: int  # key-value heads x head size
    vocabulary: int  # rows of the head, padding included
    context: int  # longest text it was made for

    def forward_flops(self, tokens: float, context: float) -> float:
        """FLOPs of a forward pass over ``tokens`` tokens that see ``context`` tokens each on average, head included."""
        return tokens * (2 * self.active + 4 * self.layers * self.attention * context)

    def kv_bytes(self, bytes_per_value: int) -> int:
        """KV cache of one token."""
        return 2 * self.layers * self.key_value * bytes_per_value

    def activation_bytes(self, recompute: bool) -> int:
        """Activations of one token between forward and backward, in bfloat16: all layers, or with gradient checkpointing the
        input of every layer and one layer whole."""
        layer = 2 * (6 * self.hidden + 2 * self.attention + 2 * self.key_value + 4 * self.intermediate)
        return self.layers * 2 * self.hidden + layer if recompute else self.layers * layer


def shape_of(model: Any) -> Shape:
    """The shape of a model, by folder or hub name (anything with ``path`` and ``revision``), or of one trained from a recipe."""
    if isinstance(model, Recipe):
        from sgopd.pretrain import build_tokenizer

        built = build_model(model, build_tokenizer(), seed=0)
        return _measured(built, built.config)
    return _shape_at(model.path, model.revision)


def _shape_at(path: Path | str, revision: str | None) -> Shape:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(path), revision=revision, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: its config.json cannot be read: {str(error)[:300]}\nGive a folder, or a hub name where the hub can be "
            "reached or the model is in the hub's cache."
        ) from error
    return _measured(model, config)


def _measured(model: Any, config: Any) -> Shape:
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None) or 0
    chosen = getattr(config, "num_experts_per_tok", experts) if experts else 0
    of_experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    total = sum(parameter.numel() for parameter in model.parameters())
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    width = config.moe_intermediate_size * chosen if experts else config.intermediate_size
    return Shape(
        parameters=total, active=total - (of_experts * (experts - chosen) // experts if experts else 0),
        layers=config.num_hidden_layers, hidden=config.hidden_size, intermediate=width, attention=heads * head,
        key_value=(getattr(config, "num_key_value_heads", None) or heads) * head, vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
    )  # fmt: skip
