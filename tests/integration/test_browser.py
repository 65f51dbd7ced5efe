"""The report and MLflow's pages in a real browser: the numbers of the table are there, nothing is loaded, nothing is injected."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest

from sgopd.config import Study
from sgopd.reporting import tables
from sgopd.reporting.report import write_report
from tests.conftest import TINY
from tests.integration.browser import chromium, resize, text_of
from tests.integration.conftest import environment
from tests.integration.ports import free_ports, wait_for_port
from tests.reporting.test_reporting import METRICS, inputs, numbers  # noqa: F401 - a fixture

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SCREEN = (2000, 1400)
OWN = "document.documentElement.dataset.owned=1"
ATTACKS = (
    f"<script>{OWN}</script>", f"</script><script>{OWN}</script>", f'"><img src=x onerror="{OWN}">',
    f"</pre><svg onload={OWN}>", f"<iframe srcdoc='<script>parent.{OWN}</script>'>", f"'-{OWN}-'",
    f"</title><script>{OWN}</script>", f"<!--><script>{OWN}</script>-->",
)  # fmt: skip


def is_owned(page: Any) -> bool:
    return page.execute_script("return document.documentElement.dataset.owned") is not None


def test_the_report_shows_its_numbers_filters_names_problems_fits_a_phone_and_runs_nothing_foreign(
    numbers: pd.DataFrame,  # noqa: F811
    tmp_path: Path,
) -> None:
    write_report(inputs(numbers, "".join(ATTACKS)), tmp_path / "report.html")
    (tmp_path / "unescaped.html").write_text(f"<html><body>{ATTACKS[0]}</body></html>")
    with chromium() as page:
        page.get((tmp_path / "unescaped.html").as_uri())
        assert is_owned(page)  # the attack itself works
        page.get((tmp_path / "report.html").as_uri())
        shown = text_of(page)
        main = tables.main_table(numbers, METRICS, "opd")
        assert all(str(cell) in shown for row in main.itertuples(index=False) for cell in row)
        assert all(attack in shown for attack in ATTACKS) and not is_owned(page)
        assert page.find_elements("tag name", "h1")
        assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
        search = page.find_element("id", "search")
        search.send_keys("nothing like this")
        assert page.find_element("id", "count").text == "0 of 1 rollouts"
        search.clear()
        search.send_keys("onerror")
        assert page.find_element("id", "count").text == "1 of 1 rollouts"
        page.execute_script(
            "const c = document.querySelector('canvas'), b = c.getBoundingClientRect();"
            "c.dispatchEvent(new PointerEvent('pointermove', {clientX: b.right - 1, clientY: b.top + 1}))"
        )
        assert "chain: " in page.find_element("id", "cell").text
        resize(page, 390, 800)
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
        assert not is_owned(page)  # nor later
        assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def server(tmp_path: Path, database: Path) -> Iterator[str]:
    """A real MLflow server; its address."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mlflow.db").write_bytes(database.read_bytes())
    [port] = free_ports(1)
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=tmp_path / "server",
            env=environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_for_port(f"127.0.0.1:{port}", 300)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, 15)
    process.wait(60)


def wait_for_text(page: Any, words: list[str], seconds: float = 240) -> str:
    deadline = time.monotonic() + seconds
    while True:
        shown = text_of(page)
        if all(word in shown for word in words):
            return shown
        assert time.monotonic() < deadline, f"{[word for word in words if word not in shown]} is not in: {shown[:3000]}"
        time.sleep(0.5)


def follow(page: Any, words: str) -> None:
    """Click the link with these words, and go to the tab that it opens."""
    page.find_element("partial link text", words).click()
    page.switch_to.window(page.window_handles[-1])
    resize(page, *SCREEN)


def test_a_study_in_the_ui_of_a_server_named_by_one_variable_shows_the_table_and_ties_runs_to_data_and_models(
    numbers: pd.DataFrame,  # noqa: F811
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    from sgopd import tracking
    from sgopd.reporting.publish import publish

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    (tmp_path / "main.md").write_text("table")
    study = Study.model_validate(TINY)
    with tracking.run(study.name, "sgopd", 0, fingerprint="f", phase="evaluation", params={"lr": 1}, tags={}) as run:
        run.dataset("prompts", "abc", Path("data/prompts/abc"))
        run.model("teacher", "t1", Path("data/models/t1"))
        run.model("sgopd seed 0", "m1", Path("results/model"), made=True)
        run.log(0, {"validation/accuracy": 0.25, "reward": 0.5})
        run.log(1, {"validation/accuracy": 0.5, "test/avg@4": 0.45})
    publish(study, numbers, METRICS, [tmp_path / "main.md"])
    publish(study, numbers, METRICS, [tmp_path / "main.md"])  # a second report changes nothing
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(study.name)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"comparison", "opd", "sgopd", "sgopd seed 0", "worse", "teacher"}
    child = client.get_run(runs["sgopd seed 0"].info.run_id)  # a search leaves the input models out
    assert [found.dataset.name for found in child.inputs.dataset_inputs] == ["prompts"]
    assert (len(child.inputs.model_inputs), len(child.outputs.model_outputs)) == (1, 1)
    assert child.data.tags["mlflow.parentRunId"] == runs["sgopd"].info.run_id
    assert runs["sgopd"].data.metrics["avg_at_4/minus opd"] == pytest.approx(0.05)
    assert [file.path for file in client.list_artifacts(runs["comparison"].info.run_id)] == ["main.md"]
    compared = quote(json.dumps([runs[name].info.run_id for name in ("opd", "sgopd")]))
    with chromium(*SCREEN) as page:
        page.get(f"{server}/#/experiments/{experiment.experiment_id}/runs")
        wait_for_text(page, ["sgopd", "comparison", "worse"])
        follow(page, "Compare the methods")
        shown = wait_for_text(page, ["avg_at_4/minus", "pass_at_4", "objective.rule=sgopd", "4 matching runs"])
        values = [shown.index(f"\n{value}\n") for value in ("0.8", "0.45", "0.4", "0.3")]
        assert values == sorted(values)  # the best method is on top
        follow(page, "their curves")
        wait_for_text(page, ["Group: sgopd", "sgopd seed 0", "validation/accuracy", "Step"])
        page.get(f"{server}/#/compare-runs?runs={compared}&experiments=[%22{experiment.experiment_id}%22]")
        wait_for_text(page, ["Comparing 2 Runs", "avg_at_4/minus opd", "objective.rule=sgopd"])
        page.get(f"{server}/#/experiments/{experiment.experiment_id}/runs/{runs['sgopd'].info.run_id}")
        wait_for_text(page, ["avg_at_4", "0.45"])
