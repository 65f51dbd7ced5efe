"""The whole chain with vLLM as rollout engine: it samples from the student as it is after every update."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sgopd.config import override
from tests.conftest import TINY
from tests.families import tiny_model

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]
pytest.importorskip("vllm")


LORA = {"lora": {"rank": 4, "alpha": 8.0}}


@pytest.mark.parametrize(
    ("dtype", "processes", "tensor_parallel", "training"),
    [
        ("float32", 1, 1, {}),
        ("float32", 1, 1, LORA),
        ("float32", 2, 1, {}),
        ("float32", 2, 2, {}),
        ("bfloat16", 1, 1, {}),
    ],
)
def test_rollouts_follow_the_trained_weights(
    checkout: Path, dtype: str, processes: int, tensor_parallel: int, training: dict[str, Any]
) -> None:
    tiny_model(Path("student"), "qwen3", 64, seed=0, head=32)
    tiny_model(Path("teacher"), "qwen3", 64, seed=1, head=32)
    models = {
        "student": {"path": "student"},
        "teacher": {"path": "teacher"},
        "prompt_template": "{problem}",
        "dtype": dtype,
    }
    changes = {
        "engine": {"kind": "vllm", "tensor_parallel": tensor_parallel},
        "training": {"steps": 3, "hold": 1.0, "decay": 1.0, "optimiser": {"lr": 0.03}} | training,
        "prompts": {"max_prompt_tokens": 40}, "hardware": {"processes": processes},
    }  # fmt: skip
    Path("study.yaml").write_text(yaml.safe_dump({**override(TINY, changes), "models": models}))
    stages = [["prompts"], ["rollouts"], ["verdicts"], ["distil", "--method", "sgopd", "--phase", "1"]]
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    for stage in stages:
        start = torchrun if stage[0] in ("rollouts", "distil") else []
        command = [sys.executable, "-m", *start, "sgopd", *stage, "--study", "study.yaml"]
        subprocess.run(command, check=True, env=os.environ | {"SGOPD_LOG": "WARNING"})
    [table] = Path("results").rglob("metrics.parquet")
    rows = pq.read_table(table).to_pylist()
    mismatch = [row["value"] for row in rows if row["name"] == "mismatch/max"]
    assert len(mismatch) == 3 and max(mismatch) < (1e-3 if dtype == "float32" else 0.5)
    assert max(row["value"] for row in rows if row["name"] == "grad_norm") > 0
