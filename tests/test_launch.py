"""How a stage starts on what the study asks for."""

from sgopd.config import Hardware
from sgopd.launch import command, on_nodes


def test_one_process_is_started_as_it_is() -> None:
    assert command(Hardware()) == "sgopd"


def test_several_processes_are_started_by_torchrun_one_per_gpu() -> None:
    assert command(Hardware(processes=8)) == "torchrun --standalone --nproc-per-node=8 -m sgopd"


def test_several_nodes_meet_at_the_one_that_starts_the_others() -> None:
    """The command itself runs in tests/integration/test_slurm.py, on two nodes."""
    line = command(Hardware(processes=8, nodes=2), nodes=2)
    assert line.startswith("srun --nodes=2 --ntasks-per-node=1 torchrun --nnodes=2 ")
    assert line.endswith("--rdzv-endpoint=$SLURMD_NODENAME:29500 --nproc-per-node=8 -m sgopd")


def test_gpus_are_asked_per_node_and_counted_over_the_whole_job() -> None:
    asked = {"gpu": 8, "mem_mb": 400_000}
    assert on_nodes(asked, 1) == asked
    two = on_nodes(asked, 2)
    assert (two["nodes"], two["tasks"], two["gpu"], two["mem_mb"]) == (2, 2, 16, 400_000)
    assert "gpu" not in on_nodes({}, 2)
