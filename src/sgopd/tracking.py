"""MLflow: one experiment per study, one parent run per method, one run per (method, seed) with all phases on one axis.

The only module that imports mlflow. A record is first appended to a file in ``mlflow-spool/`` and then sent, so that neither a
killed process nor an unreachable server loses a point; ``sgopd sync`` sends what is left. No point is ever logged twice.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import logging
import math
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sgopd.errors import UserError

logger = logging.getLogger(__name__)

SPOOL = Path("mlflow-spool")
DEFAULT_URI = "sqlite:///mlflow.db"
FINAL_PHASE = "evaluation"  # after it a run is finished
SECONDS_BETWEEN_REQUESTS = 10.0
SHARE_OF_TIME = 0.01  # that requests may take, reachable server or not
METRICS_PER_REQUEST, PARAMS_PER_REQUEST = 900, 90  # MLflow's limits are 1000 and 100

Record = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """Which MLflow run is meant: the same identity always finds the same run, in whichever phase."""

    study: str
    method: str
    seed: int
    fingerprint: str  # of the whole run, so that changed settings start a new run

    @property
    def key(self) -> str:
        """The value of the tag ``sgopd.key`` by which the run is found again."""
        return _key(self.method, self.seed, self.fingerprint)


class Run:
    """A run that is being logged. Appending is immediate; sending waits for its turn (``SHARE_OF_TIME``)."""

    def __init__(self, file: "_SpoolFile", identity: Identity) -> None:
        self._file, self._delivery = file, _Delivery(identity)
        self._offset = 0  # up to where the file is sent
        self._next_request = 0.0
        self._warned = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add metrics at ``step`` (of the whole run, counted through all phases)."""
        values = {_name(name): float(value) for name, value in metrics.items()}
        self._append({"step": step, "metrics": values, "time": _milliseconds()})

    def artefact(self, path: Path) -> None:
        """Attach a file to the run."""
        self._append({"artefact": str(path)})

    def close(self, status: str) -> None:
        """Set the run's status (RUNNING, FINISHED, FAILED, KILLED) and send all that is left."""
        self._file.append({"status": status, "time": _milliseconds()})
        if self._delivery.works or time.monotonic() >= self._next_request:
            self._send()
        if self._offset == self._file.size():
            self._file.remove()
        else:
            logger.warning("not all of this run is in MLflow; it is kept in %s: send it with `sgopd sync`", SPOOL)
        self._file.close()

    def _append(self, record: Record) -> None:
        self._file.append(record)
        if time.monotonic() >= self._next_request:
            self._send()

    def _send(self) -> None:
        start = time.monotonic()
        records, end = self._file.read(self._offset)
        try:
            self._delivery.send(records)
            self._offset, self._warned = end, False
        except Exception as error:  # whatever the client raises: training goes on
            if not self._warned:
                logger.warning("MLflow at %s: %s: %s", tracking_uri(), type(error).__name__, str(error)[:200])
            self._warned = True
        now = time.monotonic()
        self._next_request = now + max(SECONDS_BETWEEN_REQUESTS, (now - start) / SHARE_OF_TIME)


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
    the evaluation is in, as FAILED on an exception, as KILLED on Ctrl-C or SystemExit (a SIGTERM), and
    stays RUNNING between phases.
    """
    identity = Identity(study, method, seed, fingerprint)
    common = {
        "method": method, "seed": str(seed), "phase": phase, "fingerprint": fingerprint, "git_commit": git_commit(),
    }  # fmt: skip
    _send_leftovers(f"{identity.key}-*.jsonl")
    file = _SpoolFile(SPOOL / f"{identity.key}-{phase}-{os.getpid()}-{time.time_ns()}.jsonl", new=True)
    begin = {
        "begin": asdict(identity), "phase": phase, "time": _milliseconds(),
        "params": {_name(key): str(value)[:6000] for key, value in params.items()}, "tags": common | dict(tags),
    }  # fmt: skip
    current = Run(file, identity)
    current._append(begin)
    status = "FAILED"
    try:
        yield current
        status = "FINISHED" if phase == FINAL_PHASE else "RUNNING"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        current.close(status)


def replay() -> int:
    """Send everything that is left in the spool; returns the number of logs sent.

    Logs of processes that are still running are theirs to send and are left alone. UserError if the server is away.
    """
    try:
        return _replay("*.jsonl")
    except Exception as error:
        raise UserError(
            f"MLFLOW_TRACKING_URI={tracking_uri()}: {type(error).__name__}: {str(error)[:300]}. "
            f"Nothing is lost: it stays in {SPOOL}/. Start the server, or correct the address, and run `sgopd sync` again."
        ) from error


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def method_name(method: str, point: str) -> str:
    """How a method is called in the UI: with the point of the grid, if there is one."""
    return f"{method} @ {point}" if point else method


def git_commit() -> str:
    """The checkout's commit, with ``-dirty`` when files differ from it; ``unknown`` outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class _SpoolFile:
    """One JSON record per line; locked by the process that writes or sends it. BlockingIOError if another one does."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        path.parent.mkdir(exist_ok=True)
        self.path = path
        self._file = path.open("a+b" if new else "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise

    def append(self, record: Record) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()

    def read(self, offset: int) -> tuple[list[Record], int]:
        """The whole records from ``offset`` on, and where they end; a torn last line (killed while writing) is left."""
        self._file.seek(offset)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        return [json.loads(line) for line in whole.splitlines()], offset + len(whole)

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()


class _Delivery:
    """Sends records to the MLflow run of one identity, which it finds or creates at the first one."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.works = False  # the last request went through
        self._client: Any = None
        self._run_id = self._parent_id = ""
        self._is_new = True  # without any metric yet
        self._params: set[str] = set()
        self._known: dict[str, dict[int, float]] = {}  # metric -> step -> value that the run holds
        self._final = False  # in the last phase a changed value is news, not a repetition

    def send(self, records: Iterable[Record]) -> None:
        """Log what the run doesn't hold yet. Raises what the client raises; sending the same again is harmless."""
        self.works = False
        if self._client is None:
            self._find()
        metrics: list[Any] = []
        with _one_at_a_time() if _is_local() else contextlib.nullcontext():
            for record in records:
                if "metrics" in record:
                    metrics += self._news(record)
                elif "begin" in record:
                    self._begin(record)
            self._log_metrics(metrics)
            for record in records:
                if "artefact" in record:
                    self._artefact(Path(record["artefact"]))
                elif "status" in record:
                    self._end(record)
        self.works = True

    def _find(self) -> None:
        client = _connect()
        client.search_experiments(max_results=1)  # an unreachable server shows before the lock is taken
        with _one_at_a_time():
            experiment = _experiment(client, self.identity.study)
            method, seed = self.identity.method, self.identity.seed
            parent = _find_or_create(client, experiment, _key(method), method, {"method": method})
            tags = {"mlflow.parentRunId": parent.info.run_id}
            found = _find_or_create(client, experiment, self.identity.key, f"{method} seed {seed}", tags)
        self._run_id, self._parent_id = found.info.run_id, parent.info.run_id
        self._params = set(found.data.params)
        self._is_new = not found.data.metrics
        self._client = client

    def _begin(self, record: Record) -> None:
        from mlflow.entities import Param, RunTag

        self._final = record["phase"] == FINAL_PHASE
        params = [Param(key, value) for key, value in record["params"].items() if key not in self._params]
        tags = [RunTag(key, value) for key, value in record["tags"].items()]
        self._client.log_batch(self._run_id, tags=tags)
        for batch in _batches(params, PARAMS_PER_REQUEST):
            self._client.log_batch(self._run_id, params=batch)
            self._params.update(param.key for param in batch)
        for run_id in (self._run_id, self._parent_id):
            self._client.update_run(run_id, status="RUNNING")

    def _news(self, record: Record) -> list[Any]:
        """The record's points that the run doesn't hold."""
        from mlflow.entities import Metric

        step, news = record["step"], []
        for name, value in record["metrics"].items():
            known = self._history(name)
            if step not in known or (self._final and not _same(known[step], value)):
                news.append(Metric(name, value, record["time"], step))
        return news

    def _log_metrics(self, metrics: list[Any]) -> None:
        once = {(metric.key, metric.step): metric for metric in metrics}  # a repeated step: its last value
        for batch in _batches(once.values(), METRICS_PER_REQUEST):
            self._client.log_batch(self._run_id, metrics=batch)
            for metric in batch:
                self._known[metric.key][metric.step] = metric.value

    def _history(self, name: str) -> dict[int, float]:
        if name not in self._known:
            history = [] if self._is_new else self._client.get_metric_history(self._run_id, name)
            self._known[name] = {point.step: point.value for point in sorted(history, key=lambda p: p.timestamp)}
        return self._known[name]

    def _artefact(self, path: Path) -> None:
        if path.is_file():
            self._client.log_artifact(self._run_id, str(path))
        else:
            logger.warning("%s is gone and cannot be attached to the MLflow run", path)

    def _end(self, record: Record) -> None:
        for run_id in (self._run_id, self._parent_id):
            if record["status"] == "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
            else:
                self._client.set_terminated(run_id, record["status"], record["time"])


def _send_leftovers(pattern: str) -> None:
    """What a killed process left of this run goes first, if the server is there."""
    with contextlib.suppress(Exception):
        _replay(pattern)


def _replay(pattern: str) -> int:
    sent = 0
    for path in sorted(SPOOL.glob(pattern)):
        try:
            file = _SpoolFile(path)
        except (BlockingIOError, FileNotFoundError):  # written by a living process; sent by another one meanwhile
            continue
        with contextlib.closing(file):
            records = file.read(0)[0]
            if records:
                _Delivery(Identity(**records[0]["begin"])).send(records)
                sent += 1
            file.remove()
    return sent


def _connect() -> Any:
    """A client; the first one of a fresh SQLite file creates the tables, which must not happen twice at once."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    with _one_at_a_time() if _is_local() else contextlib.nullcontext():
        return MlflowClient(tracking_uri())


def _is_local() -> bool:
    return not tracking_uri().startswith(("http://", "https://"))


def _experiment(client: Any, study: str) -> str:
    found = client.get_experiment_by_name(study)
    if found is None:
        return str(client.create_experiment(study))
    if found.lifecycle_stage == "deleted":  # its name stays taken
        logger.warning("the MLflow experiment %s was deleted; it is restored to log to it", study)
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _find_or_create(client: Any, experiment: str, key: str, name: str, tags: Mapping[str, str]) -> Any:
    """The run that has this key, made if there is none."""
    found = client.search_runs([experiment], f"tags.`sgopd.key` = '{key}'", max_results=1)
    return found[0] if found else client.create_run(experiment, run_name=name, tags={"sgopd.key": key, **tags})


def _key(*parts: object) -> str:
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def _name(name: str) -> str:
    """A name that MLflow accepts: avg@8 becomes avg_at_8, any other stranger an underscore."""
    return re.sub(r"[^\w\-./ ]", "_", name.replace("@", "_at_"))


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _milliseconds() -> int:
    return int(time.time() * 1000)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Jobs of one machine create tables, experiment and runs one after the other: MLflow itself would make doubles."""
    SPOOL.mkdir(exist_ok=True)
    with (SPOOL / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
