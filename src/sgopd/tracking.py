"""MLflow: one experiment per study, one parent run per method, one run per (method, seed) with all phases on one axis.

The only module that imports mlflow. A re-run continues its run and never logs a point twice. What cannot be delivered is
kept in ``mlflow-spool/`` and delivered by ``sgopd sync``: tracking never stops or loses a training run.
"""

import contextlib
import fcntl
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgopd.store import atomic_write_text

logger = logging.getLogger(__name__)

SPOOL = Path("mlflow-spool")
DEFAULT_URI = "sqlite:///mlflow.db"
POINTS_PER_REQUEST, SECONDS_PER_REQUEST = 500, 10.0


@dataclass(frozen=True)
class Identity:
    """Which MLflow run is meant: the same identity always finds the same run."""

    study: str
    method: str
    seed: int
    fingerprint: str  # of the whole run, so that changed settings start a new run


@dataclass
class Run:
    """A run that is being logged. Points are buffered; ``flush`` sends them."""

    identity: Identity
    phase: str
    params: dict[str, str]
    tags: dict[str, str]
    points: list[tuple[int, str, float]] = field(default_factory=list)
    artefacts: list[str] = field(default_factory=list)
    status: str = "RUNNING"
    _remote: "_Remote | None" = None
    _sent: float = field(default_factory=time.monotonic)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add metrics at ``step``; sent in batches, so that logging stays far below 1 % of a step."""
        self.points += [(step, name, float(value)) for name, value in metrics.items()]
        if len(self.points) >= POINTS_PER_REQUEST or time.monotonic() - self._sent > SECONDS_PER_REQUEST:
            self.flush()

    def artefact(self, path: Path) -> None:
        """Attach a file to the run when it ends."""
        self.artefacts.append(str(path))

    def flush(self) -> None:
        """Send what is buffered; if the server cannot be reached, keep it for ``sgopd sync``."""
        if self._remote is None:
            return
        try:
            self._remote.send(self)
            self.points, self._sent = [], time.monotonic()
        except Exception as error:  # whatever the client raises: training goes on
            logger.warning("MLflow at %s cannot be reached (%s); metrics go to %s/, send them with `sgopd sync`",
                           tracking_uri(), type(error).__name__, SPOOL)  # fmt: skip
            self._remote = None

    def close(self, status: str) -> None:
        self.status = status
        self.flush()
        if self._remote is None:
            self._spool()

    def _spool(self) -> None:
        content = {
            "identity": self.identity.__dict__, "phase": self.phase, "params": self.params, "tags": self.tags,
            "points": self.points, "artefacts": self.artefacts, "status": self.status,
        }  # fmt: skip
        name = f"{self.identity.fingerprint}-{self.phase}-{time.time_ns()}.json"
        atomic_write_text(SPOOL / name, json.dumps(content))


@contextlib.contextmanager
def run(
    study: str,
    method: str,
    seed: int,
    *,
    fingerprint: str,
    phase: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Iterator[Run]:
    """The MLflow run of (study, method, seed) with this fingerprint of the whole run; created if it is not there.

    ``phase`` is the stage that logs now; ``params`` are logged once, tags are overwritten. The run ends as FINISHED when
    the evaluation is in, as FAILED on an exception, and stays RUNNING between phases.
    """
    current = Run(
        Identity(study, method, seed, fingerprint), phase, {key: str(value)[:6000] for key, value in params.items()},
        {"method": method, "seed": str(seed), "phase": phase, "fingerprint": fingerprint, "git_commit": git_commit()} | dict(tags),
    )  # fmt: skip
    with contextlib.suppress(_Unreachable):
        current._remote = _Remote.find(current)
    try:
        yield current
    except BaseException as error:
        current.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    current.close("FINISHED" if phase == "evaluation" else "RUNNING")


def replay() -> int:
    """Deliver everything in the spool; returns the number of files delivered. Raises if the server is still away."""
    delivered = 0
    for path in sorted(SPOOL.glob("*.json")):
        content = json.loads(path.read_text())
        current = Run(
            Identity(**content.pop("identity")), **{**content, "points": [tuple(p) for p in content["points"]]}
        )
        current._remote = _Remote.find(current)
        current._remote.send(current)
        path.unlink()
        delivered += 1
    return delivered


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI)


def method_name(method: str, point: str) -> str:
    """How a method is called in the UI: with the point of the grid, if there is one."""
    return f"{method} @ {point}" if point else method


def git_commit() -> str:
    """The checkout's commit, with ``-dirty`` when files differ from it; ``unknown`` outside a checkout."""
    result = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True)
    return result.stdout.strip() or "unknown"


class _Unreachable(Exception):
    """The tracking server cannot be reached now."""


class _Remote:
    """A run on the server, and what it already holds."""

    def __init__(self, client: Any, run_id: str, existed: bool) -> None:
        self.client, self.run_id = client, run_id
        self.known: dict[str, set[int]] = {}
        self.existed = existed

    @classmethod
    def find(cls, current: Run) -> "_Remote":
        try:
            with _one_at_a_time():
                client = _client()
                experiment = _experiment(client, current.identity.study)
                parent, _ = _find_or_create(
                    client, experiment, f"method:{current.identity.method}", current.identity.method, {}
                )
                name = f"{current.identity.method} seed {current.identity.seed}"
                tags = {"mlflow.parentRunId": parent, **current.tags}
                run_id, existed = _find_or_create(client, experiment, f"run:{current.identity.fingerprint}", name, tags)
                remote = cls(client, run_id, existed)
                if existed:
                    client.update_run(run_id, status="RUNNING")
            return remote
        except Exception as error:
            logger.warning(
                "MLflow at %s cannot be reached (%s): %s", tracking_uri(), type(error).__name__, str(error)[:200]
            )
            raise _Unreachable from error

    def send(self, current: Run) -> None:
        """Log points that are not there yet, parameters, tags, and at the end artefacts and status."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        points = [p for p in current.points if p[0] not in self._steps(p[1])]
        metrics = [Metric(_metric_name(name), value, now, step) for step, name, value in points]
        params = [Param(key, value) for key, value in current.params.items()]
        tags = [RunTag(key, value) for key, value in current.tags.items()]
        for first in range(0, max(len(metrics), 1), 900):
            self.client.log_batch(self.run_id, metrics[first : first + 900], params[:90] if not first else (), tags)
        for first in range(90, len(params), 90):
            self.client.log_batch(self.run_id, params=params[first : first + 90])
        for step, name, _ in points:
            self.known[name].add(step)
        current.params = {}
        if current.status != "RUNNING":
            for path in current.artefacts:
                self.client.log_artifact(self.run_id, path)
            self.client.set_terminated(self.run_id, current.status)

    def _steps(self, name: str) -> set[int]:
        if name not in self.known:
            history = self.client.get_metric_history(self.run_id, _metric_name(name)) if self.existed else []
            self.known[name] = {metric.step for metric in history}
        return self.known[name]


def _client() -> Any:
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ALLOW_HTTP_REDIRECTS", "false")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri())


def _experiment(client: Any, study: str) -> str:
    found = client.get_experiment_by_name(study)
    return str(found.experiment_id if found else client.create_experiment(study))


def _find_or_create(client: Any, experiment: str, key: str, name: str, tags: Mapping[str, str]) -> tuple[str, bool]:
    """Id of the run with this key, and whether it was already there."""
    found = client.search_runs([experiment], f"tags.`sgopd.key` = '{key}'", max_results=1)
    if found:
        return str(found[0].info.run_id), True
    created = client.create_run(experiment, run_name=name, tags={"sgopd.key": key, **tags})
    return str(created.info.run_id), False


def _metric_name(name: str) -> str:
    """MLflow forbids @ in names: avg@8 becomes avg_at_8."""
    return name.replace("@", "_at_")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Jobs of one machine create schema, experiment and runs one after the other: MLflow itself would make doubles."""
    with Path(".mlflow.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
