"""A real vLLM server as teacher, on the CPU."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sgopd.config import Sampling
from sgopd.engines.server_engine import ServerEngine
from sgopd.engines.torch_engine import TorchEngine
from sgopd.errors import UserError
from sgopd.models import load_model
from tests.families import tiny_model

EOS, TOKENS, ROWS = 2, 23, 64
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3]]
RESPONSES = [[5, 6, 7, EOS], [], [11, 10, 9] * 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("served"), "qwen3", ROWS, seed=0, head=32)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    pytest.importorskip("vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["vllm", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "96", "--enforce-eager", "--generation-config", "vllm"]
    server = subprocess.Popen([sys.executable, "-m", "vllm.entrypoints.cli.main", *command[1:]])
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_the_server_scores_and_samples_like_the_torch_engine(url: str, folder: Path) -> None:
    served = ServerEngine(url, EOS, ROWS)  # untrained: the padding rows count as tokens here
    local = TorchEngine(load_model(folder, dtype=torch.float32).eval(), EOS, 0)
    for a, b in zip(served.score(PROMPTS, RESPONSES), local.score(PROMPTS, RESPONSES), strict=True):
        assert a == pytest.approx(b, abs=1e-3)
    rollouts = served.sample(PROMPTS * 4, Sampling(max_new_tokens=20), range(12))
    for rollout, score in zip(rollouts, local.score(PROMPTS * 4, [r.token_ids for r in rollouts]), strict=True):
        assert rollout.logprobs == pytest.approx(score, abs=1e-3)
        assert (rollout.finish_reason == "stop") == (rollout.token_ids[-1] == EOS)
    again = served.sample(PROMPTS, Sampling(max_new_tokens=20), range(3))
    assert [r.token_ids for r in again] == [r.token_ids for r in rollouts[:3]]
    with pytest.raises(UserError, match="--max-model-len 120"):
        served.sample([[3] * 20], Sampling(max_new_tokens=100), [0])
    with pytest.raises(UserError, match="which is no token"):
        ServerEngine(url, EOS, 3).sample(PROMPTS, Sampling(max_new_tokens=20), range(3))


def test_a_server_that_is_not_there_is_an_error_that_says_how_to_start_it() -> None:
    with pytest.raises(UserError, match="vllm serve"):
        ServerEngine("http://127.0.0.1:9/v1", EOS, TOKENS, patience_s=0.1)
