"""A real vLLM server as teacher, on the CPU."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from sgopd.config import Sampling, Study, override
from sgopd.engines.server_engine import ServerEngine
from sgopd.engines.torch_engine import TorchEngine
from sgopd.errors import UserError
from sgopd.models import load_model
from sgopd.prompts.stage import prepare
from sgopd.training.distil import distil
from tests.conftest import TINY
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
    # what `vllm serve` starts; the CPU build's own command line does not find its version
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "96", "--enforce-eager", "--generation-config", "vllm"]
    server, url = subprocess.Popen(command), f"http://127.0.0.1:{port}/v1"
    try:
        while server.poll() is None and not _answers(url):
            time.sleep(1)
        assert server.poll() is None, "the server has left; its words are above"
        yield url
    finally:
        server.terminate()
        server.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=5):
            return True
    except OSError:
        return False


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


@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_a_response_is_scored_while_others_are_sampled_and_once(url: str, folder: Path) -> None:
    served = ServerEngine(url, EOS, ROWS)
    asked: list[Any] = []
    complete = served._complete

    def counted(prompt: list[int], **settings: Any) -> Any:
        asked.append(prompt)
        return complete(prompt, **settings)

    served._complete = counted  # type: ignore[method-assign]
    local = TorchEngine(load_model(folder, dtype=torch.float32).eval(), EOS, 0)
    prompts = PROMPTS * 4
    rollouts = local.sample(
        prompts, Sampling(max_new_tokens=20), range(12), lambda i, rollout: served.begin(prompts[i], rollout.token_ids)
    )
    texts = {(*p, *r.token_ids) for p, r in zip(prompts, rollouts, strict=True)}
    assert len(served.begun) == len(texts), "they are on their way before anyone asks"
    for rollout, score in zip(rollouts, served.score(prompts, [r.token_ids for r in rollouts]), strict=True):
        assert rollout.logprobs == pytest.approx(score, abs=1e-3)
    assert len(asked) == len(texts) and not served.begun


@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_a_run_with_its_teacher_on_a_server_is_the_run_with_its_teacher_at_hand(
    url: str, folder: Path, checkout: Path
) -> None:
    tiny_model(Path("student"), "qwen3", ROWS, seed=1, head=32)
    models = {"student": {"path": "student"}, "teacher": {"path": str(folder)}, "prompt_template": "{problem}"}
    found = []
    for teacher in ("torch", url):
        changes = {"engine": {"teacher": teacher}, "prompts": {"max_prompt_tokens": 40}, "results": f"to-{len(found)}"}
        study = Study.model_validate({**override(TINY, changes), "models": models})
        prepare(study)
        rows = pq.read_table(distil(study, "opd", 0, 1) / "metrics.parquet").to_pylist()
        found.append(
            {(row["step"], row["name"]): row["value"] for row in rows if not row["name"].startswith("seconds")}
        )
    assert found[1] == pytest.approx(found[0], abs=1e-3) and found[0]


def test_a_server_that_is_not_there_is_an_error_that_says_how_to_start_it() -> None:
    with pytest.raises(UserError, match="vllm serve"):
        ServerEngine("http://127.0.0.1:9/v1", EOS, TOKENS, patience_s=0.1)


class Hung(BaseHTTPRequestHandler):
    """Says which model it serves, and answers nothing else."""

    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": "m", "max_model_len": 96}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        time.sleep(60)


def test_a_process_that_leaves_does_not_wait_for_a_server_that_hangs() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hung) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = (
            "import sys; from sgopd.engines.server_engine import ServerEngine\n"
            f"engine = ServerEngine('http://127.0.0.1:{server.server_port}/v1', 2, 23)\n"
            "for i in range(300): engine.begin([3], [i])\n"
            "sys.exit(143)"
        )
        start = time.monotonic()
        assert subprocess.run([sys.executable, "-c", script], timeout=50).returncode == 143
        assert time.monotonic() - start < 40
        server.shutdown()
