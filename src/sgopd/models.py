"""Loading models and tokenizers, from a folder or a hub, and checking that student and teacher fit together.

safetensors only; code that comes with a model is never run. Knows no study.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sgopd.errors import UserError

logger = logging.getLogger(__name__)

warnings.filterwarnings("ignore", message="`past_key_values` is deprecated", category=FutureWarning)


def load_model(path: Path | str, *, dtype: Any, revision: str | None = None) -> Any:
    """A transformers causal LM in ``dtype`` (torch.dtype), on the CPU."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # our own bars show what takes long
    _check_folder(path, "config.json")
    try:
        return AutoModelForCausalLM.from_pretrained(
            str(path), revision=revision, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be loaded as a causal language model: {error}") from error


def load_tokenizer(path: Path | str, *, revision: str | None = None) -> Any:
    """A tokenizer with a chat template, an end-of-sequence and a padding token."""
    from transformers import AutoTokenizer

    _check_folder(path, "tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be loaded as a tokenizer: {error}") from error
    for name in ("chat_template", "eos_token_id"):
        if getattr(tokenizer, name) is None:
            raise UserError(
                f"{path}: its tokenizer has no {name}; the pipeline needs an instruction-tuned model's tokenizer."
            )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _check_folder(path: Path | str, file: str) -> None:
    """A relative path that looks like a folder but is not there would be taken for a hub name, with a confusing error."""
    if Path(path).is_dir() and not (Path(path) / file).is_file():
        raise UserError(f"{path}: the folder holds no {file}, so it is no saved model. Make it with `save_pretrained`.")


def check_compatible(student: Any, teacher: Any) -> None:
    """Raise UserError unless both tokenizers turn text into the same ids and end a response with the same token.

    Rows that only pad the vocabulary (151,936 against 152,064 in one family) are no tokens and don't count.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
        examples = ", ".join(f"{t!r} (student {ours.get(t)}, teacher {theirs.get(t)})" for t in differing[:3])
        raise UserError(
            f"models: student and teacher have different tokenizers: {len(differing)} tokens differ, e.g. {examples}. "
            "Their log-probs cannot be compared token by token; choose two models of one family."
        )
    if student.eos_token_id != teacher.eos_token_id:
        raise UserError(
            f"models: student ends a response with token {student.eos_token!r}, teacher with {teacher.eos_token!r}. "
            "Give both the same eos_token in tokenizer_config.json."
        )


def render_prompt(tokenizer: Any, problem: str, template: str) -> list[int]:
    """The problem as token ids: template, user turn, no system prompt, thinking off, ready for the assistant's answer."""
    message = [{"role": "user", "content": template.replace("{problem}", problem)}]
    ids = tokenizer.apply_chat_template(
        message, add_generation_prompt=True, tokenize=True, return_dict=False, enable_thinking=False
    )
    return [int(token) for token in ids]
