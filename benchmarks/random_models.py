"""A study over two Qwen3 models with random weights, for scripts that time whole steps: model folders, prompts, config."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # a peer's environment has no sgopd installed

LR = 1e-6  # the student stays as it is, and so does the length of its rollouts
NEVER = "<never>"  # the end-of-sequence token: with random weights no model draws it but by a rare accident

TEMPLATE = (  # the embedded one's, but that an assistant's turn ends with that token
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{{ '" + NEVER + "' if message['role'] == 'assistant' else '<|im_end|>' }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """Of student and teacher, and of one step: prompts x group rollouts of exactly ``tokens`` tokens."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    prompts: int
    group: int
    tokens: int


SHAPES = {
    "embedded": Shape(64, 2, 4, 2, 16, 192, 23, prompts=32, group=4, tokens=48),
    "small": Shape(256, 4, 4, 2, 64, 768, 151_936, prompts=4, group=4, tokens=64),
    "Qwen3-0.6B": Shape(1024, 28, 16, 8, 128, 3072, 151_936, prompts=2, group=4, tokens=64),
}


def tokenizer(shape: Shape) -> Any:
    """The embedded one, with as many tokens as the model has rows, and an end-of-sequence token that comes last or beyond them."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from sgopd.pretrain import build_tokenizer

    built = build_tokenizer()
    parts = json.loads(built.backend_tokenizer.to_str())
    known = parts["model"]["vocab"]
    known |= {f"<{i}>": i for i in range(len(known), shape.vocabulary - 1)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)), pad_token=built.pad_token, eos_token=NEVER,
        additional_special_tokens=["<|im_start|>"], chat_template=TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def model(shape: Shape, seed: int) -> Any:
    """float32, tied embeddings."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_dim, max_position_embeddings=1024, tie_word_embeddings=True, eos_token_id=None,
        bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(config)


def write(folder: Path, shape: Shape, methods: dict[str, Any]) -> Any:
    """Models and prompts under ``folder`` (the working directory from then on); the study over them."""
    from sgopd.config import Study
    from sgopd.prompts import stage

    words = tokenizer(shape)
    for seed, role in enumerate(("student", "teacher")):
        if not (folder / role).is_dir():
            model(shape, seed).save_pretrained(folder / role)
            words.save_pretrained(folder / role)
    study = Study.model_validate(
        {
            "name": "benchmark",
            "models": {role: {"path": str(folder / role)} for role in ("student", "teacher")}
            | {"prompt_template": "{problem}"},
            "prompts": {
                "train": {"kind": "synthetic", "count": 16 * shape.prompts},
                "validation": {"kind": "synthetic", "count": 2},
                "benchmarks": {"none": {"kind": "synthetic", "count": 2}},
            },
            "training": {
                "prompts_per_step": shape.prompts, "group_size": shape.group, "sampling": {"max_new_tokens": shape.tokens},
                "optimiser": {"lr": LR},
            },
            "methods": methods,
            "baseline": next(iter(methods)),
        }
    )  # fmt: skip
    stage.prepare(study)
    return study
