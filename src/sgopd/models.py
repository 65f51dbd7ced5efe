"""Loading models and tokenizers, from a folder or a hub, and checking that student and teacher fit together.

safetensors only; code that comes with a model is never run. Knows no study.
"""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

from sgopd.errors import UserError, machine_fault

logger = logging.getLogger(__name__)

warnings.filterwarnings("ignore", message="`past_key_values` is deprecated", category=FutureWarning)


# Settings by which some models change their logits after the head; scoring and training apply the head alone.
_CHANGED_LOGITS = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0}


def load_model(path: Path | str, *, dtype: Any, revision: str | None = None, device: Any = None) -> Any:
    """A transformers causal LM in ``dtype`` (torch.dtype) on ``device`` (default: this process's GPU, else the CPU)."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # our own bars show what takes long
    transformers_logging.set_verbosity_error()  # what it warns of is an error here, in our words
    _check_folder(path, "config.json")
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(path), revision=revision, dtype=dtype, use_safetensors=True, trust_remote_code=False,
            output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # whatever a damaged file makes transformers raise
        raise _unloadable(path, "a causal language model", error) from error
    model, found = loaded
    if found["missing_keys"] or found["mismatched_keys"]:  # transformers would draw them at random
        names = ", ".join(sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))[:3])
        raise UserError(
            f"{path}: its weights do not fit its config.json: missing or of another shape are {names}, ... Save it again."
        )
    for name, neutral in _CHANGED_LOGITS.items():
        if getattr(model.config, name, neutral) not in (None, neutral):
            raise UserError(
                f"{path}: config.json has {name} = {getattr(model.config, name)}, which changes the logits after the head; "
                "such models are not supported (their log-probs would be wrong). Choose one without it."
            )
    return model.to(own_device() if device is None else device)


def own_device() -> Any:
    """The GPU of this process (torchrun counts them by LOCAL_RANK), or the CPU where there is none (torch.device)."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def load_tokenizer(path: Path | str, revision: str | None = None) -> Any:
    """A tokenizer with a chat template, an end-of-sequence and a padding token."""
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    _check_folder(path, "tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), revision=revision, trust_remote_code=False)
    except Exception as error:  # tokenizers raises Exception itself
        raise _unloadable(path, "a tokenizer", error) from error
    for name in ("chat_template", "eos_token_id"):
        if getattr(tokenizer, name) is None:
            raise UserError(
                f"{path}: its tokenizer has no {name}; the pipeline needs an instruction-tuned model's tokenizer."
            )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _unloadable(path: Path | str, kind: str, error: Exception) -> Exception:
    """The error for the user; one of the machine (memory, disk) as it is."""
    if not isinstance(error, OSError) and machine_fault(error):
        return error
    text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no further word'}"
    return UserError(
        f"{path}: cannot be loaded as {kind}: {text}. Give a hub name that can be reached, or a folder written by "
        "`save_pretrained`; a damaged copy has to be fetched or made again."
    )


def _check_folder(path: Path | str, file: str) -> None:
    """A path that can be no hub name and is no folder, or a folder without the file, would end in a confusing error."""
    place, text = Path(path), str(path)
    if not place.is_dir() and (text.startswith(("/", ".", "~")) or text.count("/") > 1 or place.exists()):
        raise UserError(f"{path}: no such folder (and no hub name). Give a folder written by `save_pretrained`.")
    if place.is_dir() and not (place / file).is_file():
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
    both = (student, teacher)
    ends = {"eos_token": [t.eos_token_id for t in both], "chat template": [end_of_turn(t) for t in both]}
    for where, ids in ends.items():
        if ids[0] != ids[1]:
            ours, theirs = student.convert_ids_to_tokens(ids)
            raise UserError(
                f"models: student ends a response with token {ours!r}, teacher with {theirs!r} ({where}). "
                "Give both the same eos_token in tokenizer_config.json and the same end of turn in the chat template."
            )


def end_of_turn(tokenizer: Any) -> int:
    """Id of the token that ends a response: the special token that the chat template puts after the assistant's text, which for
    some families (Gemma) is not the tokenizer's EOS; the EOS where the template puts none."""
    conversation = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    ids = _rendered(tokenizer, conversation)
    special = set(tokenizer.all_special_ids) | {
        i for i, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    text = tokenizer.encode("2", add_special_tokens=False)[-1]
    after = ids[len(ids) - 1 - ids[::-1].index(text) + 1 :] if text in ids else []
    return int(next((token for token in after if token in special), tokenizer.eos_token_id))


def real_tokens(tokenizer: Any) -> int:
    """Rows of the vocabulary that are tokens; the embedding may have more rows (padding to a round number)."""
    return int(max(tokenizer.get_vocab().values())) + 1


def render_prompt(tokenizer: Any, problem: str, template: str) -> list[int]:
    """The problem as token ids: template, user turn, no system prompt, thinking off, ready for the assistant's answer."""
    message = [{"role": "user", "content": template.replace("{problem}", problem)}]
    return _rendered(tokenizer, message, add_generation_prompt=True)


def _rendered(tokenizer: Any, messages: list[dict[str, str]], **options: bool) -> list[int]:
    try:
        ids = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=False, enable_thinking=False, **options
        )
    except Exception as error:  # the template is a program of the model's authors
        raise UserError(
            f"{tokenizer.name_or_path}: its chat template fails: {type(error).__name__}: {error}. Correct chat_template."
        ) from error
    return [int(token) for token in ids]
