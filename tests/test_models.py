"""Loading, and the errors that come before any work."""

from pathlib import Path

import pytest
import torch

from sgopd.errors import UserError
from sgopd.models import check_compatible, load_model, load_tokenizer
from sgopd.pretrain import build_tokenizer


def test_the_same_tokenizer_is_compatible() -> None:
    check_compatible(build_tokenizer(), build_tokenizer())


def test_another_token_is_named() -> None:
    other = build_tokenizer()
    other.add_tokens(["<think>"])
    with pytest.raises(UserError, match=r"different tokenizers: 1 tokens differ, e\.g\. '<think>'"):
        check_compatible(build_tokenizer(), other)


def test_another_end_of_sequence_is_named() -> None:
    other = build_tokenizer()
    other.eos_token = "<|im_start|>"
    with pytest.raises(UserError, match=r"<\|im_end\|>.*<\|im_start\|>"):
        check_compatible(build_tokenizer(), other)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.json"):
        load_model(tmp_path, dtype=torch.float32)
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{}", b"garbage" * 20])
def test_a_damaged_checkpoint_is_named(made: Path, tmp_path: Path, damage: bytes) -> None:
    import shutil

    [source] = [path for path in (made / "data" / "models").iterdir()][:1]
    folder = tmp_path / "model"
    shutil.copytree(source, folder)
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(UserError, match="model: cannot be loaded"):
        load_model(folder, dtype=torch.float32)


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="chat_template"):
        load_tokenizer(tmp_path)


def test_a_revision_of_a_hub_tokenizer_is_the_one_that_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two revisions in a hub cache laid out as huggingface_hub does it; the hub itself is not asked."""
    for i, revision in enumerate(["a" * 40, "b" * 40]):
        tokenizer = build_tokenizer()
        tokenizer.add_tokens([f"<{j}>" for j in range(i)])
        folder = tmp_path / "models--owner--name" / "snapshots" / revision
        tokenizer.save_pretrained(folder)
        (folder / "config.json").write_text('{"model_type": "qwen3"}')
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    sizes = [len(load_tokenizer(Path("owner/name"), revision).get_vocab()) for revision in ("a" * 40, "b" * 40)]
    assert sizes[1] == sizes[0] + 1
