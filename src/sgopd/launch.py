"""How a stage starts on the processes and nodes that a study asks for: its command, and what Slurm is told. Knows no stage."""

from collections.abc import Mapping

from sgopd.config import Hardware

PORT = 29500


def command(hardware: Hardware, nodes: int = 1) -> str:
    """What stands before the stage's name on the command line: plain ``sgopd``, or ``sgopd`` under torchrun, one process per GPU.

    On several nodes srun starts one torchrun per node of the Slurm allocation; they meet at the one that runs this command.
    """
    if hardware.processes == nodes == 1:
        return "sgopd"
    workers = f"--nproc-per-node={hardware.processes} -m sgopd"
    if nodes == 1:
        return f"torchrun --standalone {workers}"
    # Snakemake's Slurm plugin hands on only some of the job's variables; these two are among them
    meeting = f"--rdzv-backend=c10d --rdzv-id=$SLURM_JOB_ID --rdzv-endpoint=$SLURMD_NODENAME:{PORT}"
    return f"srun --nodes={nodes} --ntasks-per-node=1 torchrun --nnodes={nodes} {meeting} {workers}"


def on_nodes(asked: Mapping[str, int | str], nodes: int) -> dict[str, int | str]:
    """The resources of a job on so many nodes, given those on each, under the names of Snakemake's Slurm plugin.

    The plugin calls a job that starts srun itself an MPI job, and counts GPUs over the whole job.
    """
    if nodes == 1:
        return dict(asked)
    layout: dict[str, int | str] = {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun"}
    gpus = {"gpu": int(asked["gpu"]) * nodes} if "gpu" in asked else {}
    return {**asked, **layout, **gpus}
