"""Model folders of known shapes and of several families, made on the spot: config.json, real tokenizer files, random weights."""

import json
from pathlib import Path
from typing import Any

import torch

from sgopd.pretrain import build_tokenizer

# name: hidden, layers, heads, key-value heads, intermediate, tied; the published sizes are 0.6, 1.7, 4.0, 8.2, 14.8, 32.8 billion
QWEN3 = {
    "0.6B": (1024, 28, 16, 8, 3072, True),
    "1.7B": (2048, 28, 16, 8, 6144, True),
    "4B": (2560, 36, 32, 8, 9728, True),
    "8B": (4096, 36, 32, 8, 12288, False),
    "14B": (5120, 40, 40, 8, 17408, False),
    "32B": (5120, 64, 64, 8, 25600, False),
}


def qwen3_folder(folder: Path, size: str, **changes: Any) -> Path:
    """config.json of a Qwen3 model (no weights) and a tokenizer."""
    hidden, layers, heads, kv, intermediate, tied = QWEN3[size]
    config = {
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": 128, "intermediate_size": intermediate,
        "vocab_size": 151936, "tie_word_embeddings": tied, "max_position_embeddings": 40960,
    }  # fmt: skip
    return _folder(folder, config | changes)


def qwen3_moe_folder(folder: Path) -> Path:
    """Qwen3-30B-A3B: 30.5 billion parameters, 3.3 of them active."""
    return _folder(folder, {
        "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 48,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936,
        "tie_word_embeddings": False, "max_position_embeddings": 40960,
    })  # fmt: skip


def _folder(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    build_tokenizer().save_pretrained(folder)
    return folder


FAMILIES = ["qwen3", "qwen3_moe", "llama", "gemma3"]
LLAMA_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_TEMPLATE = LLAMA_TEMPLATE.replace("<|im_end|>", "<end_of_turn>\n")


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LAYERS = ["sliding_attention", "full_attention"]


def tiny_model(folder: Path, family: str, rows: int, seed: int, head: int = 16) -> Path:
    """A random model of the family with ``rows`` rows in its vocabulary (the tokenizer has 23 or 24 tokens) and its tokenizer.

    The Gemma-style one ends a turn with a token of its own, which is not the tokenizer's EOS.
    """
    from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen3Config, Qwen3MoeConfig

    tokenizer = build_tokenizer()
    if family == "gemma3":
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<end_of_turn>"]})
    tokenizer.chat_template = {"llama": LLAMA_TEMPLATE, "gemma3": GEMMA_TEMPLATE}.get(family, tokenizer.chat_template)
    common = {
        "vocab_size": rows, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 128, "initializer_range": 0.2, "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    config = {
        "qwen3": lambda: Qwen3Config(**common, head_dim=head, tie_word_embeddings=True),
        "qwen3_moe": lambda: Qwen3MoeConfig(**common, head_dim=head, **EXPERTS),
        "llama": lambda: LlamaConfig(**common, tie_word_embeddings=False),
        "gemma3": lambda: Gemma3TextConfig(**common, head_dim=head, sliding_window=16, layer_types=LAYERS),
    }[family]()  # fmt: skip
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
