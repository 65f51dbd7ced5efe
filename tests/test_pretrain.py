"""The embedded models: real tokenizer files, real Qwen3, the same weights from the same recipe."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sgopd import pretrain
from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.models import load_model, load_tokenizer, render_prompt
from sgopd.pretrain import build_tokenizer, train_model
from sgopd.prompts.synthetic import Writer, problems
from sgopd.store import is_complete, stream, verify


def test_every_text_of_the_task_survives_the_tokenizer() -> None:
    tokenizer = build_tokenizer()
    for chain in problems(0, "train", 50, (3, 7)):
        for terse in (0.0, 1.0):
            text = chain.problem + "\n" + Writer(terse=terse).solution(chain, stream(0))
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.pad_token_id not in ids
            assert tokenizer.decode(ids) == text


def test_a_prompt_is_a_user_turn_ready_for_the_answer() -> None:
    tokenizer = build_tokenizer()
    text = tokenizer.decode(render_prompt(tokenizer, "Compute 1+2", "{problem}"))
    assert text == "<|im_start|>user\nCompute 1+2<|im_end|>\n<|im_start|>assistant\n"


def test_braces_in_a_problem_are_left_alone() -> None:
    tokenizer = build_tokenizer()
    assert "\\boxed{}" in tokenizer.decode(render_prompt(tokenizer, "1", "{problem}\\boxed{}"))


def test_a_trained_model_is_whole_and_loads_like_any_other(made: Path, study: Study) -> None:
    artefact = Artefacts(study).model("teacher")
    folder = made / artefact.folder
    assert is_complete(folder, artefact.fingerprint)
    verify(folder)
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".jinja"}
    model, tokenizer = load_model(folder, dtype=torch.float32), load_tokenizer(folder)
    assert model.config.model_type == "qwen3"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_the_same_recipe_gives_the_same_bytes(made: Path, checkout: Path, study: Study) -> None:
    folder = train_model(study, "student")
    first = (made / folder / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == first


@pytest.mark.parametrize("step", [1, 2, 4])  # before the first checkpoint, where a lesson begins, within one
def test_training_that_was_killed_goes_on_from_its_checkpoint_and_ends_with_the_same_bytes(
    made: Path, checkout: Path, study: Study, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    loss, done = pretrain._loss, []

    def killed(*arguments: Any) -> Any:
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(step)
        return loss(*arguments)

    monkeypatch.setattr(pretrain, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(pretrain, "_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        train_model(study, "teacher")
    artefact = Artefacts(study).model("teacher")
    assert not artefact.folder.exists() and artefact.partial.exists() == (step >= 2)
    taken: list[int] = []
    monkeypatch.setattr(pretrain, "_loss", lambda *arguments: taken.append(0) or loss(*arguments))
    folder = train_model(study, "teacher")
    assert len(taken) == 5 - step // 2 * 2
    for path in (made / folder).iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    assert not artefact.partial.exists()


def test_teacher_and_student_differ_and_start_from_the_same_weights(made: Path, study: Study) -> None:
    teacher, student = (
        load_model(made / Artefacts(study).model(role).folder, dtype=torch.float32) for role in ("teacher", "student")
    )
    assert not torch.equal(teacher.lm_head.weight, student.lm_head.weight)
    assert (teacher.lm_head.weight - student.lm_head.weight).abs().max() < 0.05
