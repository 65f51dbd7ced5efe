"""What it saves that a teacher on a vLLM server scores rollouts while others are still being sampled.

    make test-vllm; .venv-vllm/bin/python benchmarks/overlap.py       # any environment with vLLM and the project

Starts a server on the machine's last core and samples with the torch engine on the first; both ways take turns. Prints a
Markdown table of milliseconds per sampled token, from the first token until the last score. Random weights.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import random_models
import torch

from sgopd.config import Sampling
from sgopd.engines.server_engine import ServerEngine
from sgopd.engines.torch_engine import TorchEngine

STUDENT = random_models.Shape(256, 4, 8, 4, 32, 768, 64, prompts=64, group=1, tokens=128)
TEACHER = random_models.Shape(512, 8, 8, 4, 64, 1536, 64, prompts=64, group=1, tokens=128)
END = 2  # drawn by chance, so that rollouts end at different times


@contextmanager
def served(folder: Path, core: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", "256", "--enforce-eager"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=log, stderr=log, env=environment)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/models", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield url
    finally:
        server.terminate()
        server.wait()


def milliseconds(student: TorchEngine, teacher: ServerEngine, seed: int, early: bool) -> float:
    """Per sampled token, until all are scored."""
    prompts = [[3 + i % 9] * (12 + i % 5) for i in range(STUDENT.prompts)]

    def begin(place: int, rollout: Any) -> None:
        if early:
            teacher.begin(prompts[place], rollout.token_ids)

    start = time.perf_counter()
    rollouts = student.sample(prompts, Sampling(max_new_tokens=STUDENT.tokens), range(seed, seed + len(prompts)), begin)
    teacher.score(prompts, [rollout.token_ids for rollout in rollouts])
    return 1000 * (time.perf_counter() - start) / sum(len(rollout.token_ids) for rollout in rollouts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_models.model(TEACHER, 0).save_pretrained(folder)
        random_models.tokenizer(TEACHER).save_pretrained(folder)
        with served(folder, (os.cpu_count() or 1) - 1) as url:
            os.sched_setaffinity(0, {0})
            student = TorchEngine(random_models.model(STUDENT, 1).eval(), END, 0)
            teacher = ServerEngine(url, END, TEACHER.vocabulary)
            milliseconds(student, teacher, 0, early=True)
            found: dict[bool, list[float]] = {True: [], False: []}
            for turn in range(1, rounds + 1):
                for early in found:
                    found[early].append(milliseconds(student, teacher, 1000 * turn, early))
    print("| scoring | milliseconds per token, median (min - max) |\n|---|---|")
    for early, text in ((False, "after the last rollout"), (True, "from each rollout's end on")):
        values = found[early]
        print(f"| {text} | {statistics.median(values):.3f} ({min(values):.3f} - {max(values):.3f}) |")
    ratio = statistics.median(a / b for a, b in zip(found[True], found[False], strict=True))
    print(f"\nMedian ratio of the {rounds} pairs, which sample the same tokens: {ratio:.2f}")


if __name__ == "__main__":
    main()
