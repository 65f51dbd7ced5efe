"""MLflow for real: one run per (method, seed), nothing doubled, nothing lost."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sgopd import tracking


def log(seed: int, phase: str, steps: range, method: str = "opd", fingerprint: str = "") -> None:
    with tracking.run(
        "study",
        method,
        seed,
        fingerprint=fingerprint or f"f{method}{seed}",
        phase=phase,
        params={"lr": 0.1},
        tags={"point": ""},
    ) as run:
        for step in steps:
            run.log(step, {"loss": float(step), "test/avg@8": 0.5})


def runs() -> list[Any]:
    client = MlflowClient(tracking.tracking_uri())
    experiment = client.get_experiment_by_name("study")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def history(run: Any, name: str) -> list[tuple[int, float]]:
    client = MlflowClient(tracking.tracking_uri())
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))


def test_phases_and_evaluation_of_one_run_share_one_axis_under_the_method(checkout: Path) -> None:
    log(0, "phase1", range(0, 3))
    log(0, "phase2", range(3, 5))
    log(0, "evaluation", range(5, 6))
    log(1, "phase1", range(0, 1))
    found = {run.info.run_name: run for run in runs()}
    assert set(found) == {"opd", "opd seed 0", "opd seed 1"}
    child = found["opd seed 0"]
    assert child.data.tags["mlflow.parentRunId"] == found["opd"].info.run_id
    assert (
        child.data.tags["fingerprint"] == "fopd0" and child.data.tags["seed"] == "0" and "git_commit" in child.data.tags
    )
    assert child.data.params == {"lr": "0.1"}
    assert history(child, "loss") == [(step, float(step)) for step in range(6)]
    assert child.data.metrics["test/avg_at_8"] == 0.5
    assert (child.info.status, found["opd seed 1"].info.status) == ("FINISHED", "RUNNING")


def test_a_repeated_job_doubles_neither_run_nor_points(checkout: Path) -> None:
    log(0, "phase1", range(0, 4))
    log(0, "phase1", range(2, 6))
    [child] = [run for run in runs() if run.info.run_name == "opd seed 0"]
    assert [step for step, _ in history(child, "loss")] == [0, 1, 2, 3, 4, 5]


def test_data_sets_and_models_are_linked_once_even_if_the_process_died_before_it_noted_them(checkout: Path) -> None:
    def link() -> Any:
        with tracking.run("study", "opd", 0, fingerprint="f", phase="phase1", params={}, tags={}) as run:
            run.dataset("prompts", "abc", Path("data/prompts/abc"))
            run.model("teacher", "def", Path("data/models/def"))
            run.model("opd seed 0", "ghi", Path("results/runs/opd/seed0"), made=True)
        [child] = [run.info.run_id for run in runs() if run.info.run_name == "opd seed 0"]
        return client.get_run(child)

    client = MlflowClient(tracking.tracking_uri())
    first = link()
    client.delete_tag(first.info.run_id, "sgopd.linked")  # what was noted
    again = link()
    assert not list(Path("mlflow-spool").glob("*.jsonl")), "all has been delivered"
    for found in (first, again):
        assert [one.dataset.digest for one in found.inputs.dataset_inputs] == ["abc"]
        assert (len(found.inputs.model_inputs), len(found.outputs.model_outputs)) == (1, 1)


def test_changed_settings_start_a_new_run_below_the_same_method(checkout: Path) -> None:
    log(0, "phase1", range(1), fingerprint="a")
    log(0, "phase1", range(1), fingerprint="b")
    assert sorted(run.info.run_name for run in runs()) == ["opd", "opd seed 0", "opd seed 0"]


def test_a_failed_job_is_marked_as_failed_and_keeps_its_points(checkout: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        tracking.run("study", "opd", 0, fingerprint="f", phase="phase1", params={}, tags={}) as run,
    ):
        run.log(0, {"loss": 1.0})
        raise RuntimeError
    [child] = [run for run in runs() if run.info.run_name == "opd seed 0"]
    assert child.info.status == "FAILED" and history(child, "loss") == [(0, 1.0)]


def test_artefacts_are_kept(checkout: Path) -> None:
    (checkout / "table.csv").write_text("a,b\n")
    with tracking.run("study", "opd", 0, fingerprint="f", phase="evaluation", params={}, tags={}) as run:
        run.artefact(checkout / "table.csv")
    client = MlflowClient(tracking.tracking_uri())
    [child] = [run for run in runs() if run.info.run_name == "opd seed 0"]
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["table.csv"]


def test_an_unreachable_server_stops_nothing_and_sync_delivers_later(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a port nobody listens on
    log(0, "phase1", range(3))
    [spooled] = (checkout / tracking.SPOOL).glob("*.jsonl")
    records = [json.loads(line) for line in spooled.read_text().splitlines()]
    assert [record["step"] for record in records if "step" in record] == [0, 1, 2]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{checkout}/mlflow.db")
    assert tracking.replay() == 1
    assert not list((checkout / tracking.SPOOL).glob("*.jsonl"))
    [child] = [run for run in runs() if run.info.run_name == "opd seed 0"]
    assert [step for step, _ in history(child, "loss")] == [0, 1, 2]


@pytest.mark.integration
def test_eight_jobs_that_log_at_once_lose_and_double_nothing(checkout: Path) -> None:
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=log, args=(seed, "phase1", range(50))) for seed in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * 8
    found = runs()
    assert sorted(run.info.run_name for run in found) == ["opd", *(f"opd seed {seed}" for seed in range(8))]
    for run in found:
        if run.info.run_name != "opd":
            assert len(history(run, "loss")) == 50
