"""The peak memory of the fused operations, measured by the benchmark script in processes of their own (Linux)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "logprob.py"
N, V = 8192, 20_000
FULL_LOGITS_MIB = N * V * 4 / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize(
    ("name", "allowed"), [("fused_logprob", 0.3), ("fused_policy_gradient", 0.5), ("fused_reverse_kl", 0.7)]
)
def test_forward_and_backward_stay_far_below_the_full_logits(name: str, allowed: float) -> None:
    size = ["--tokens", str(N), "--vocab", str(V), "--hidden", "16", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--only-memory-of", f"sgopd {name}", *size],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["mib"] < allowed * FULL_LOGITS_MIB
