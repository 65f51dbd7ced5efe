"""vLLM for real, on the CPU: it samples and scores like the torch engine, and follows the weights of a model in training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import Qwen3Config, Qwen3ForCausalLM

from sgopd.config import Sampling
from sgopd.engines.torch_engine import TorchEngine
from sgopd.errors import UserError
from tests.engines.checks import ends_at_eos_or_limit, hears_of_each_rollout_when_it_ends

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm")

from sgopd.engines.vllm_engine import VllmEngine, VllmOptions  # noqa: E402

EOS, PAD, TOKENS, ROWS = 2, 0, 40, 64
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3], [4, 4] * 20]
RESPONSES = [[5, 6, 7, EOS], [3], [], [11, 10, 9] * 9]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=ROWS, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, tie_word_embeddings=True, max_position_embeddings=256, initializer_range=0.3,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def vllm(model: Any, tmp_path_factory: pytest.TempPathFactory) -> VllmEngine:
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    return VllmEngine(folder, EOS, TOKENS, VllmOptions(max_length=128, dtype="float32"))


@pytest.fixture
def torch_engine(model: Any) -> TorchEngine:
    return TorchEngine(model, EOS, PAD, TOKENS)


def test_both_engines_score_alike(vllm: VllmEngine, torch_engine: TorchEngine) -> None:
    ours, theirs = vllm.score(PROMPTS, RESPONSES), torch_engine.score(PROMPTS, RESPONSES)
    assert [len(row) for row in ours] == [len(row) for row in RESPONSES]
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-3)


def test_its_sampled_logprobs_are_the_torch_engines_scores(vllm: VllmEngine, torch_engine: TorchEngine) -> None:
    for settings in ({}, {"temperature": 0.6}, {"top_p": 0.8}):
        rollouts = vllm.sample(PROMPTS * 4, Sampling(max_new_tokens=24, **settings), range(16))
        scores = torch_engine.score(PROMPTS * 4, [rollout.token_ids for rollout in rollouts])
        for rollout, score in zip(rollouts, scores, strict=True):
            assert rollout.logprobs == pytest.approx(score, abs=1e-3) and max(rollout.logprobs) <= 0


def test_a_rollout_ends_at_eos_or_at_the_length_limit(vllm: VllmEngine) -> None:
    rollouts = vllm.sample(PROMPTS * 16, Sampling(max_new_tokens=30), range(64))
    ends_at_eos_or_limit(rollouts, EOS, 30)


def test_it_tells_of_each_rollout_when_it_ends(vllm: VllmEngine) -> None:
    hears_of_each_rollout_when_it_ends(vllm, PROMPTS * 16, 30)


def test_tokens_depend_on_the_seed_and_not_on_the_batch(vllm: VllmEngine) -> None:
    seeds, sampling = list(range(100, 132)), Sampling(max_new_tokens=12)
    whole = vllm.sample(PROMPTS * 8, sampling, seeds)
    parts = [vllm.sample((PROMPTS * 8)[i : i + 4], sampling, seeds[i : i + 4]) for i in range(0, 32, 4)]
    assert [r.token_ids for r in whole] == [r.token_ids for part in parts for r in part]
    assert len({tuple(rollout.token_ids) for rollout in whole[::4]}) > 4


def test_first_tokens_follow_the_model_and_padding_rows_are_never_sampled(vllm: VllmEngine, model: Any) -> None:
    count = 2000
    rollouts = vllm.sample([PROMPTS[0]] * count, Sampling(max_new_tokens=1), range(count))
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1].double().softmax(-1).numpy()
    assert expected[TOKENS:].sum() > 0.05, "the padding rows of this model must have mass for the test to mean anything"
    counts = np.bincount([rollout.token_ids[0] for rollout in rollouts], minlength=ROWS)
    assert counts[TOKENS:].sum() == 0
    expected = expected[:TOKENS] / expected[:TOKENS].sum()
    assert chisquare(counts[:TOKENS], count * expected).pvalue > 1e-4


def test_new_weights_take_the_place_of_the_old_and_cached_prefixes_are_forgotten(
    vllm: VllmEngine, model: Any, torch_engine: TorchEngine
) -> None:
    long = [[5, 6, 7, 8] * 16] * 2  # several blocks of the prefix cache
    before = vllm.sample(long, Sampling(max_new_tokens=8), [1, 2])
    original = {name: tensor.clone() for name, tensor in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    try:
        vllm.update(model.named_parameters())
        after = vllm.sample(long, Sampling(max_new_tokens=8), [1, 2])
        assert [r.token_ids for r in after] != [r.token_ids for r in before]
        for rollout, score in zip(after, torch_engine.score(long, [r.token_ids for r in after]), strict=True):
            assert rollout.logprobs == pytest.approx(score, abs=1e-3)
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(original[name])
        vllm.update(model.named_parameters())
    again = vllm.sample(long, Sampling(max_new_tokens=8), [1, 2])
    assert [r.token_ids for r in again] == [r.token_ids for r in before]


def test_a_text_longer_than_the_context_is_refused_with_the_key_to_turn(vllm: VllmEngine) -> None:
    with pytest.raises(UserError, match=r"engine\.max_length"):
        vllm.sample([[3] * 100], Sampling(max_new_tokens=60), [0])


def test_nothing_in_gives_nothing_out(vllm: VllmEngine) -> None:
    assert vllm.sample([], Sampling(), []) == [] and vllm.score([], []) == []


def test_a_folder_without_a_model_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vLLM cannot"):
        VllmEngine(tmp_path, EOS, TOKENS, VllmOptions(max_length=64, dtype="float32"))
