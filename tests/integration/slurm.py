"""A real Slurm of two nodes with two made-up GPUs each, in a folder of its own; started and ended by the tests."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.integration.ports import free_ports

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
SYSTEM_CONF = Path("/etc/slurm/slurm.conf")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=20
ReturnToService=2
MinJobAge=86400
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
GresTypes=gpu
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=64000 Gres=gpu:2 State=UNKNOWN\n"


def missing() -> list[str]:
    """What this machine lacks to start a Slurm of its own."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0:
        absent.append("root, which slurmd needs")
    if SYSTEM_CONF.exists() and not SYSTEM_CONF.is_symlink():
        absent.append(f"a free {SYSTEM_CONF} (this machine belongs to a cluster)")
    return absent


class Slurm:
    """The cluster; ``env`` makes sbatch and its kin speak to it."""

    def __init__(self, folder: Path, cpus: int = 2, nodes: int = 2) -> None:
        self.folder, self.host = folder, socket.gethostname().split(".")[0]
        self.nodes = [f"127.0.0.{i + 1}" for i in range(nodes)]  # names that every program on this machine can resolve
        for name in ("munge", "state"):
            (folder / name).mkdir(parents=True)
        (folder / "munge").chmod(0o711)
        (folder / "munge" / "key").write_bytes(os.urandom(128))
        (folder / "munge" / "key").chmod(0o400)
        gpus = [folder / f"gpu{i}" for i in range(2)]
        for gpu in gpus:
            gpu.touch()
        port, *ports = free_ports(1 + nodes)
        conf = CONF.format(host=self.host, folder=folder, controller_port=port)
        for name, port in zip(self.nodes, ports, strict=True):
            conf += NODE.format(name=name, host=self.host, port=port, cpus=cpus)
        (folder / "slurm.conf").write_text(conf)
        lines = [f"NodeName={name} Name=gpu File={gpu}" for name in self.nodes for gpu in gpus]
        (folder / "gres.conf").write_text("\n".join(lines) + "\n")
        self.env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Start everything. Steps inside a job see no SLURM_CONF, so the configuration is also linked to its usual place."""
        if SYSTEM_CONF.is_symlink():
            SYSTEM_CONF.unlink()  # of a session that was killed
        SYSTEM_CONF.parent.mkdir(exist_ok=True)
        SYSTEM_CONF.symlink_to(self.folder / "slurm.conf")
        munge = self.folder / "munge"
        self._run(
            "munged", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key", f"--pid-file={munge}/pid",
            f"--log-file={munge}/log", f"--seed-file={munge}/seed", "--num-threads=2",
        )  # fmt: skip
        self._run("slurmctld")
        self.start_nodes()

    def start_nodes(self) -> None:
        """Start the daemons of the nodes and wait until the controller has them."""
        for name in self.nodes:
            self._run("slurmd", "-N", name)
        self.wait_for(lambda: self._states() <= {"idle", "mixed", "allocated"}, "the nodes")

    def _states(self) -> set[str]:
        return set(self.ask("sinfo", "-h", "-N", "-o", "%T").splitlines()) or {"none"}

    def stop(self) -> None:
        self.ask("scancel", "--state=RUNNING", "--state=PENDING", "--user=root")
        with suppress(AssertionError):
            self.wait_for(lambda: not self.ask("squeue", "-h", "-t", "R,CG"), "the last jobs")
        SYSTEM_CONF.unlink(missing_ok=True)
        for pid in (*self._node_daemons(), self.folder / "slurmctld.pid", self.folder / "munge" / "pid"):
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(int(pid.read_text()), signal.SIGTERM)
        self._kill(self.job_processes())

    def crash_nodes(self) -> None:
        """What a power cut does: the daemons and everything that jobs started are gone at once."""
        self._kill([*(int(path.read_text()) for path in self._node_daemons()), *self.job_processes()])

    def _node_daemons(self) -> list[Path]:
        return [self.folder / f"slurmd-{name}.pid" for name in self.nodes]

    @staticmethod
    def _kill(processes: list[int]) -> None:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def job_processes(self) -> list[int]:
        """Every process below the step daemons of this cluster's jobs."""
        parents = {int(line.split()[0]): int(line.split()[1]) for line in _ps("pid=,ppid=")}
        steps = [
            int(line.split()[0])
            for line in _ps("pid=,args=")
            if "slurmstepd" in line and _environment(int(line.split()[0])).get("SLURM_CONF") == self.env["SLURM_CONF"]
        ]
        found = set(steps)
        while new := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= new
        return sorted(found)

    def jobs(self, state: str) -> list[str]:
        """Ids of the jobs in this state."""
        return self.ask("squeue", "-h", "-t", state, "-o", "%i").split()

    def ask(self, *command: str) -> str:
        """A command's output, empty when it fails."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def wait_for(self, condition: object, what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"{what} did not come in {seconds:g} s; logs in {self.folder}"
            time.sleep(0.2)

    def _run(self, *command: str) -> None:
        subprocess.run(command, env=self.env, check=True, capture_output=True, timeout=60)


def _ps(columns: str) -> list[str]:
    return subprocess.run(["ps", "-eo", columns], capture_output=True, text=True, check=True).stdout.splitlines()


def _environment(pid: int) -> dict[str, str]:
    with suppress(OSError):
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs if pair)
    return {}
