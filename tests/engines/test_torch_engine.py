"""Sampling and scoring: exact log-probs, the right distribution, independent of the batch."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import Qwen3Config, Qwen3ForCausalLM

from sgopd.config import Sampling
from sgopd.engines.base import Engine, Rollout
from sgopd.engines.torch_engine import TorchEngine
from tests.engines.checks import ends_at_eos_or_limit, hears_of_each_rollout_when_it_ends

EOS, PAD = 2, 0
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3], [4, 4]]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=12, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, tie_word_embeddings=True, max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def engine(model: Any) -> TorchEngine:
    return TorchEngine(model, EOS, PAD)


def slow_logprobs(model: Any, prompt: list[int], response: list[int]) -> list[float]:
    """One full forward pass per token, float64 softmax."""
    found = []
    for t, token in enumerate(response):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + response[:t]])).logits[0, -1].double()
        found.append(logits.log_softmax(-1)[token].item())
    return found


def test_scores_are_those_of_one_forward_pass_per_token(engine: Engine, model: Any) -> None:
    responses = [[5, 6, 7, EOS], [3], [], [11, 10, 9]]
    for prompt, response, scores in zip(PROMPTS, responses, engine.score(PROMPTS, responses), strict=True):
        assert scores == pytest.approx(slow_logprobs(model, prompt, response), abs=1e-5)


def test_sampled_logprobs_are_the_scores_and_never_positive(engine: Engine) -> None:
    prompts = PROMPTS * 8
    rollouts = engine.sample(prompts, Sampling(max_new_tokens=12), range(len(prompts)))
    scores = engine.score(prompts, [rollout.token_ids for rollout in rollouts])
    for rollout, score in zip(rollouts, scores, strict=True):
        assert rollout.logprobs == pytest.approx(score, abs=1e-5)
        assert max(rollout.logprobs) <= 0


def test_a_rollout_ends_at_eos_or_at_the_length_limit(engine: Engine) -> None:
    rollouts = engine.sample(PROMPTS * 16, Sampling(max_new_tokens=5), range(64))
    ends_at_eos_or_limit(rollouts, EOS, 5)


def test_tokens_depend_on_the_seed_and_not_on_batch_or_order(model: Any) -> None:
    seeds = list(range(100, 132))
    prompts = PROMPTS * 8
    sampling = Sampling(max_new_tokens=10)
    whole = TorchEngine(model, EOS, PAD).sample(prompts, sampling, seeds)
    small = TorchEngine(model, EOS, PAD, batch_size=3).sample(prompts, sampling, seeds)
    backwards = TorchEngine(model, EOS, PAD).sample(prompts[::-1], sampling, seeds[::-1])[::-1]
    tokens = [rollout.token_ids for rollout in whole]
    assert tokens == [rollout.token_ids for rollout in small] == [rollout.token_ids for rollout in backwards]
    assert len({tuple(ids) for ids in tokens[::4]}) > 4  # one prompt, different seeds


def test_a_prompt_is_read_once_for_all_its_rollouts_and_ended_ones_leave_the_batch(model: Any) -> None:
    shapes: list[tuple[int, ...]] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    rollouts = TorchEngine(model, EOS, PAD).sample(PROMPTS * 8, Sampling(max_new_tokens=10), range(32))
    hook.remove()
    assert shapes[:2] == [(4, 6), (32, 1)]
    for t, (rows, _) in enumerate(shapes[1:], 1):  # at most a quarter of the rows has ended
        alive = sum(len(rollout.token_ids) > t for rollout in rollouts)
        assert alive <= rows <= 4 / 3 * alive


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"temperature": 2.0}, {"top_p": 0.9}])
def test_first_tokens_follow_the_wanted_distribution(engine: Engine, model: Any, settings: dict[str, float]) -> None:
    count = 4000
    rollouts = engine.sample([PROMPTS[0]] * count, Sampling(max_new_tokens=1, **settings), range(count))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1].double() / settings.get("temperature", 1.0)
    expected = logits.softmax(-1).numpy()
    if "top_p" in settings:
        order = np.argsort(-expected)
        kept = order[: int(np.searchsorted(np.cumsum(expected[order]), settings["top_p"])) + 1]
        expected = np.where(np.isin(np.arange(len(expected)), kept), expected, 0) / expected[kept].sum()
    counts = np.bincount([rollout.token_ids[0] for rollout in rollouts], minlength=len(expected))
    assert counts[expected == 0].sum() == 0
    assert chisquare(counts[expected > 0], count * expected[expected > 0]).pvalue > 1e-4


def test_logprobs_are_at_temperature_one_whatever_the_sampling(engine: Engine, model: Any) -> None:
    [rollout] = engine.sample([PROMPTS[0]], Sampling(max_new_tokens=4, temperature=0.3, top_p=0.5), [7])
    assert rollout.logprobs == pytest.approx(slow_logprobs(model, PROMPTS[0], rollout.token_ids), abs=1e-5)


def test_it_tells_of_each_rollout_when_it_ends(engine: Engine) -> None:
    hears_of_each_rollout_when_it_ends(engine, PROMPTS * 4, 12)


def test_nothing_in_gives_nothing_out(engine: Engine) -> None:
    assert engine.sample([], Sampling(), []) == []
    assert engine.score([], []) == []


def test_an_engine_samples_from_the_weights_as_they_are_now(model: Any) -> None:
    import copy

    trained = copy.deepcopy(model)
    engine = TorchEngine(trained, EOS, PAD)
    before: list[Rollout] = engine.sample(PROMPTS, Sampling(max_new_tokens=8), range(4))
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    after = engine.sample(PROMPTS, Sampling(max_new_tokens=8), range(4))
    assert [r.token_ids for r in before] != [r.token_ids for r in after]


def test_sampling_accepts_anything_with_the_three_settings(engine: Engine) -> None:
    settings = SimpleNamespace(temperature=1.0, top_p=1.0, max_new_tokens=2)
    assert len(engine.sample(PROMPTS, settings, range(4))) == 4  # type: ignore[arg-type]
