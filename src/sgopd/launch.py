"""The command that starts a stage on the processes and nodes that a study asks for. Knows no stage."""

from sgopd.config import Hardware

PORT = 29500


def command(hardware: Hardware, nodes: int = 1) -> str:
    """What stands before the stage's name on the command line: plain ``sgopd``, or ``sgopd`` under torchrun, one process per GPU.

    On several nodes srun starts one torchrun per node of the Slurm allocation; they meet at its first node.
    """
    if hardware.processes == nodes == 1:
        return "sgopd"
    workers = f"--nproc-per-node={hardware.processes} -m sgopd"
    if nodes == 1:
        return f"torchrun --standalone {workers}"
    first = "$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)"
    meeting = f"--rdzv-backend=c10d --rdzv-id=$SLURM_JOB_ID --rdzv-endpoint={first}:{PORT}"
    return f"srun --nodes={nodes} --ntasks-per-node=1 torchrun --nnodes={nodes} {meeting} {workers}"
