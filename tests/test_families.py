"""The whole chain on models of several families that are loaded like any hub model, student and teacher padded differently."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from sgopd.artefacts import Artefacts
from sgopd.config import Study, override
from sgopd.engines.torch_engine import TorchEngine
from sgopd.evaluation.evaluate import evaluate
from sgopd.models import end_of_turn, load_model, load_tokenizer, real_tokens
from sgopd.prompts.stage import prepare
from sgopd.rollouts import judge_teacher, sample_teacher
from sgopd.training.adapters import as_stored, plain_weights
from sgopd.training.distil import distil
from tests.conftest import TINY
from tests.families import FAMILIES, tiny_model

STUDENT_ROWS, TEACHER_ROWS = 40, 64  # of vocabularies with 23 or 24 tokens


def study_of(family: str) -> Study:
    tiny_model(Path("student"), family, STUDENT_ROWS, seed=0)
    tiny_model(Path("teacher"), family, TEACHER_ROWS, seed=1)
    models = {"student": {"path": "student"}, "teacher": {"path": "teacher"}, "prompt_template": "{problem}"}
    changes = {
        "training": {"steps": 3, "hold": 0.34, "decay": 0.67},
        "prompts": {"benchmarks": {"chain": {"count": 3}}},
    }
    return Study.model_validate({**override(TINY, changes), "models": models, "seeds": [0]})


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_rollouts_verdicts_a_phase_and_an_evaluation(checkout: Path, family: str) -> None:
    study = study_of(family)
    prepare(study)
    rollouts = pq.read_table(sample_teacher(study) / "rollouts.parquet").to_pylist()
    judge_teacher(study)
    folder = distil(study, "sgopd", 0, 1)
    metrics = {
        row["name"]: row["value"] for row in pq.read_table(folder / "metrics.parquet").to_pylist() if row["step"] == 0
    }
    assert metrics["grad_norm"] > 0 and metrics["loss/imitation"] > 0
    assert metrics["mismatch/max"] < 1e-4, "what is sampled and what is trained must be one model"
    for phase in (2, 3):
        distil(study, "sgopd", 0, phase)
    rows = pq.read_table(evaluate(study, "sgopd", 0) / "evaluations.parquet").to_pylist()
    assert len(rows) == 2 * (3 + 5)
    tokenizer = load_tokenizer("student")
    assert max(token for row in rollouts for token in row["response_ids"]) < real_tokens(tokenizer) < STUDENT_ROWS
    ended = [row["response_ids"][-1] for row in rollouts if row["finish_reason"] == "stop"]
    assert set(ended) <= {end_of_turn(tokenizer)}
    final = load_model(Artefacts(study).final_model("sgopd", 0).folder / "model", dtype=torch.float32)
    assert final.config.model_type.startswith(family)


def test_a_turn_ends_with_the_template_s_token_where_that_is_not_the_eos(tmp_path: Path) -> None:
    ends = {family: load_tokenizer(tiny_model(tmp_path / family, family, 40, 0)) for family in FAMILIES}
    named = {family: tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) for family, tokenizer in ends.items()}
    assert named == {"qwen3": "<|im_end|>", "qwen3_moe": "<|im_end|>", "llama": "<|im_end|>", "gemma3": "<end_of_turn>"}


def test_padding_rows_keep_their_mass_in_the_softmax_but_are_never_sampled(tmp_path: Path) -> None:
    from sgopd.config import Sampling

    model = load_model(tiny_model(tmp_path / "m", "qwen3", 40, 0), dtype=torch.float32).eval()
    settings, prompts = Sampling(max_new_tokens=8), [[3, 4, 5]] * 64
    everything = TorchEngine(model, 2, 0).sample(prompts, settings, range(64))
    real = TorchEngine(model, 2, 0, vocabulary=23).sample(prompts, settings, range(64))
    assert max(token for rollout in everything for token in rollout.token_ids) >= 23
    assert max(token for rollout in real for token in rollout.token_ids) < 23
    for a, b in zip(
        everything, real, strict=True
    ):  # nothing else changes: tokens are equal up to the first padding row
        place = next((i for i, token in enumerate(a.token_ids) if token >= 23), None)
        assert a.token_ids[:place] == b.token_ids[:place]
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([prompts[0]])).logits[0, -1].log_softmax(-1)
    assert real[0].logprobs[0] == pytest.approx(expected[real[0].token_ids[0]].item(), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_in_memory_are_given_to_other_engines_as_they_are_stored(tmp_path: Path, family: str) -> None:
    model = load_model(tiny_model(tmp_path, family, 40, 0), dtype=torch.float32)
    stored = load_file(tmp_path / "model.safetensors")
    given = dict(as_stored(model, plain_weights(model)))
    assert given.keys() == stored.keys()
    assert all(torch.equal(given[name], stored[name]) for name in stored)
