"""MLflow: one experiment per study, one parent run per method, one run per (method, seed) with all phases on one axis.

This package alone imports mlflow. A record is first appended to a file in ``mlflow-spool/`` and then sent, so that neither a
killed process nor an unreachable server loses a point; ``sgopd sync`` sends what is left. No point is ever logged twice.
"""

import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sgopd.errors import UserError
from sgopd.tracking.delivery import FINAL_PHASE, Delivery, Identity, safe_name, tracking_uri
from sgopd.tracking.spool import SPOOL, Record, SpoolFile

__all__ = ["SPOOL", "Run", "git_commit", "method_name", "replay", "run", "tracking_uri"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_REQUESTS = 10.0
SHARE_OF_TIME = 0.01  # that requests may take, reachable server or not


class Run:
    """A run that is being logged. Appending is immediate; sending waits for its turn (``SHARE_OF_TIME``)."""

    def __init__(self, file: "SpoolFile", identity: Identity) -> None:
        self._file, self._delivery = file, Delivery(identity)
        self._offset = 0  # up to where the file is sent
        self._next_request = 0.0
        self._warned = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add metrics at ``step`` (of the whole run, counted through all phases)."""
        values = {safe_name(name): float(value) for name, value in metrics.items()}
        self._append({"step": step, "metrics": values, "time": _milliseconds()})

    def artefact(self, path: Path) -> None:
        """Attach a file to the run."""
        self._append({"artefact": str(path)})

    def dataset(self, name: str, fingerprint: str, source: Path) -> None:
        """Say that the run reads this data set."""
        self._append({"dataset": {"name": name, "fingerprint": fingerprint, "source": str(source)}})

    def model(self, name: str, fingerprint: str, source: Path, *, made: bool = False) -> None:
        """Say that the run reads this model, or has ``made`` it: a version of a model in MLflow's list of models."""
        self._append({"model": {"name": name, "fingerprint": fingerprint, "source": str(source), "made": made}})

    def describe(self, text: str, table: Sequence[str], curves: Sequence[str]) -> None:
        """Show ``text`` (Markdown) on the study's page, with links to its methods by these metrics and to their seeds' curves."""
        names = {"table": [safe_name(name) for name in table], "curves": [safe_name(name) for name in curves]}
        self._append({"page": {"text": text, **names}})

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
    seed: int | None,
    *,
    fingerprint: str,
    phase: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Iterator[Run]:
    """The MLflow run of (study, method, seed) with this fingerprint of the whole run; created if it is not there. Without a
    seed it is the method's own run, parent of those of its seeds.

    ``phase`` is the stage that logs now; ``params`` are logged once, tags are overwritten. The run ends as FINISHED when
    the evaluation is in, as FAILED on an exception, as KILLED on Ctrl-C or SystemExit (a SIGTERM), and
    stays RUNNING between phases.
    """
    identity = Identity(study, method, seed, fingerprint)
    common = {
        "method": method, "seed": str(seed), "phase": phase, "fingerprint": fingerprint, "git_commit": git_commit(),
    }  # fmt: skip
    _send_leftovers(f"{identity.key}-*.jsonl")
    file = SpoolFile(SPOOL / f"{identity.key}-{phase}-{os.getpid()}-{time.time_ns()}.jsonl", new=True)
    begin = {
        "begin": asdict(identity), "phase": phase, "time": _milliseconds(),
        "params": {safe_name(key): str(value)[:6000] for key, value in params.items()}, "tags": common | dict(tags),
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


def _send_leftovers(pattern: str) -> None:
    """What a killed process left of this run goes first, if the server is there."""
    with contextlib.suppress(Exception):
        _replay(pattern)


def _replay(pattern: str) -> int:
    sent = 0
    for path in sorted(SPOOL.glob(pattern)):
        try:
            file = SpoolFile(path)
        except (BlockingIOError, FileNotFoundError):  # written by a living process; sent by another one meanwhile
            continue
        with contextlib.closing(file):
            records = file.read(0)[0]
            if records:
                Delivery(Identity(**records[0]["begin"])).send(records)
                sent += 1
            file.remove()
    return sent


def _milliseconds() -> int:
    return int(time.time() * 1000)
