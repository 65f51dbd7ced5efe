"""From records to MLflow: finds or creates experiment, parent and run, and logs what they do not hold yet.

In: records of spool.py. Out: requests to the tracking server. Sending the same record twice changes nothing.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgopd.tracking.page import study_tags
from sgopd.tracking.spool import Record, one_at_a_time

logger = logging.getLogger(__name__)

DEFAULT_URI = "sqlite:///mlflow.db"
FINAL_PHASE = "evaluation"  # after it a run is finished
METRICS_PER_REQUEST, PARAMS_PER_REQUEST = 900, 90  # MLflow's limits are 1000 and 100
LINKED = "sgopd.linked"  # the tag that names what a run is tied to


@dataclass(frozen=True)
class Identity:
    """Which MLflow run is meant: the same identity always finds the same run, in whichever phase."""

    study: str
    method: str
    seed: int | None  # None: the method's own run, the parent of its seeds'
    fingerprint: str  # of the whole run, so that changed settings start a new run

    @property
    def key(self) -> str:
        """The value of the tag ``sgopd.key`` by which the run is found again."""
        return _key(self.method) if self.seed is None else _key(self.method, self.seed, self.fingerprint)


class Delivery:
    """Sends records to the MLflow run of one identity, which it finds or creates at the first one."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.works = False  # the last request went through
        self._client: Any = None
        self._experiment_id = self._run_id = self._parent_id = ""
        self._linked: set[str] = set()  # data sets and models, as _link names them
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
        with one_at_a_time() if _is_local() else contextlib.nullcontext():
            for record in records:
                if "metrics" in record:
                    metrics += self._news(record)
                elif "begin" in record:
                    self._begin(record)
            self._log_metrics(metrics)
            for record in records:
                if "artefact" in record:
                    self._artefact(Path(record["artefact"]))
                elif "dataset" in record or "model" in record:
                    self._link(record)
                elif "page" in record:
                    for key, value in study_tags(self._experiment_id, **record["page"]).items():
                        self._client.set_experiment_tag(self._experiment_id, key, value)
                elif "status" in record:
                    self._end(record)
        self.works = True

    def _find(self) -> None:
        client = _connect()
        client.search_experiments(max_results=1)  # an unreachable server shows before the lock is taken
        with one_at_a_time():
            experiment = _experiment(client, self.identity.study)
            method, seed = self.identity.method, self.identity.seed
            parent = _find_or_create(client, experiment, _key(method), method, {"method": method})
            tags = {"mlflow.parentRunId": parent.info.run_id}
            found = (
                parent if seed is None
                else _find_or_create(client, experiment, self.identity.key, f"{method} seed {seed}", tags)
            )  # fmt: skip
        self._run_id, self._parent_id = found.info.run_id, parent.info.run_id
        self._params = set(found.data.params)
        self._is_new = not found.data.metrics
        self._experiment_id, self._client = experiment, client
        self._linked = set(json.loads(found.data.tags.get(LINKED, "[]")))

    def _begin(self, record: Record) -> None:
        from mlflow.entities import Param, RunTag

        self._final = record["phase"] == FINAL_PHASE
        params = [Param(key, value) for key, value in record["params"].items() if key not in self._params]
        tags = [RunTag(key, value) for key, value in record["tags"].items()]
        self._client.log_batch(self._run_id, tags=tags)
        for batch in _batches(params, PARAMS_PER_REQUEST):
            self._client.log_batch(self._run_id, params=batch)
            self._params.update(param.key for param in batch)
        for run_id in {self._run_id, self._parent_id}:
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

    def _link(self, record: Record) -> None:
        """Tie the run to a data set or a model, once."""
        kind = "dataset" if "dataset" in record else "model"
        linked = record[kind]
        name = f"{kind} {linked['name']} {linked['fingerprint']}"
        if name in self._linked:
            return
        if kind == "dataset":
            self._client.log_inputs(self._run_id, datasets=[_dataset(linked)])
        else:
            self._link_model(linked)
        self._linked.add(name)
        self._client.set_tag(self._run_id, LINKED, json.dumps(sorted(self._linked)))

    def _link_model(self, linked: Record) -> None:
        from mlflow.entities import LoggedModelInput, LoggedModelOutput

        with contextlib.nullcontext() if _is_local() else one_at_a_time():
            found = _model(self._client, self._experiment_id, linked, self._run_id if linked["made"] else None)
        run = self._client.get_run(self._run_id)  # a process may have been killed before it noted what it had sent
        if linked["made"]:
            if found not in {output.model_id for output in (run.outputs.model_outputs if run.outputs else [])}:
                self._client.log_outputs(self._run_id, [LoggedModelOutput(found, step=0)])
        elif found not in {one.model_id for one in run.inputs.model_inputs}:
            self._client.log_inputs(self._run_id, models=[LoggedModelInput(found)])

    def _end(self, record: Record) -> None:
        for run_id in {self._run_id, self._parent_id}:
            if record["status"] == "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
            else:
                self._client.set_terminated(run_id, record["status"], record["time"])


def _dataset(linked: Record) -> Any:
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"uri": linked["source"]})
    return DatasetInput(Dataset(linked["name"], linked["fingerprint"], source_type="local", source=source))


def _model(client: Any, experiment: str, linked: Record, run_id: str | None) -> str:
    """Id of the model with this fingerprint in the experiment's list of models, made if it is not there."""
    fingerprint = linked["fingerprint"]
    found = client.search_logged_models([experiment], f"tags.fingerprint = '{fingerprint}'", max_results=1)
    if found:
        return str(found[0].model_id)
    tags = {"fingerprint": fingerprint, "path": linked["source"]}
    name = re.sub(r"[^\w -]", "_", linked["name"])
    model = client.create_logged_model(experiment, name=name, source_run_id=run_id, tags=tags, model_type="causal-lm")
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def _connect() -> Any:
    """A client; the first one of a fresh SQLite file creates the tables, which must not happen twice at once."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    with one_at_a_time() if _is_local() else contextlib.nullcontext():
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


def safe_name(name: str) -> str:
    """A name that MLflow accepts: avg@8 becomes avg_at_8, any other stranger an underscore."""
    return re.sub(r"[^\w\-./ ]", "_", name.replace("@", "_at_"))


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
