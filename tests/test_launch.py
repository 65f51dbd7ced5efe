"""How a stage starts on what the study asks for."""

import os
import subprocess
from pathlib import Path

from sgopd.config import Hardware
from sgopd.launch import command


def test_one_process_is_started_as_it_is() -> None:
    assert command(Hardware()) == "sgopd"


def test_several_processes_are_started_by_torchrun_one_per_gpu() -> None:
    assert command(Hardware(processes=8)) == "torchrun --standalone --nproc-per-node=8 -m sgopd"


def test_several_nodes_meet_at_the_first_node_of_the_slurm_allocation(tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nprintf '%s\\n' node7 node8\n")
    (tmp_path / "srun").write_text('#!/bin/sh\necho "$@"\n')
    for name in ("scontrol", "srun"):
        (tmp_path / name).chmod(0o755)
    line = command(Hardware(processes=8, nodes=2), nodes=2) + " distil --phase 1"
    slurm = {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "node[7-8]", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = subprocess.run(["bash", "-c", line], env=slurm, capture_output=True, text=True, check=True).stdout.split()
    assert words[:3] == ["--nodes=2", "--ntasks-per-node=1", "torchrun"]
    assert "--rdzv-endpoint=node7:29500" in words and "--rdzv-id=42" in words
    assert words[-5:] == ["-m", "sgopd", "distil", "--phase", "1"]
