"""Pictures of a finished study for the docs: its report on a screen and on a phone, and its pages in MLflow.

    python workflow/scripts/screenshots.py STUDY_NAME [FOLDER]

Needs Chromium with its driver, and Selenium (`pip install -e '.[integration]'`). Reads results/report.html and mlflow.db of
the working directory, writes FOLDER/*.png (docs/images).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from mlflow import MlflowClient
from selenium import webdriver

from sgopd.tracking.page import path

DATABASE = "sqlite:///mlflow.db"
SHOW_SEEDS = "document.querySelectorAll('button[data-component-id*=runnamecellrenderer]').forEach(b => b.click())"
NO_ASSISTANT = (
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"  # it covers a third of the page
)
LARGEST = 300_000  # bytes
PATIENCE = 300  # seconds for a page
DRAWING = 5  # seconds that charts move after their words are there


@contextmanager
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NO_ASSISTANT})
    try:
        yield page
    finally:
        page.quit()


@contextmanager
def mlflow_ui() -> Iterator[str]:
    """The address of an MLflow UI on the database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", DATABASE, "--workers", "1", "--port", port]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: healthy(address), "MLflow's UI")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def healthy(address: str) -> bool:
    try:
        with urlopen(f"{address}/health") as answer:  # noqa: S310 - our own server
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come in {PATIENCE} s")
        time.sleep(1)


def picture(page: Any, url: str, file: Path, width: int, height: int, words: str, then: str = "") -> None:
    """Wait until the page shows ``words``, run the script ``then``, and write a picture of exactly this size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get("about:blank")  # a change of the part after # alone would load nothing
    page.get(url)
    wait_for(lambda: words in page.execute_script("return document.body.innerText"), f"'{words}' at {url}")
    page.execute_script(then)
    time.sleep(DRAWING)
    data = b64decode(page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
    if len(data) > LARGEST:
        raise SystemExit(f"{file} would have {len(data)} bytes, more than {LARGEST}")
    file.write_bytes(data)
    print(f"{file}: {len(data)} bytes")


def main(study: str, folder: Path) -> None:
    experiment = MlflowClient(DATABASE).get_experiment_by_name(study).experiment_id
    report = Path("results/report.html").resolve().as_uri()
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as page:
        picture(page, report, folder / "report.png", 1100, 1500, "Methods")
        picture(page, report, folder / "report-phone.png", 390, 1200, "Methods")
        with mlflow_ui() as ui:
            runs = f"{ui}/#/experiments/{experiment}/runs?workflowType=machine_learning"
            picture(page, runs, folder / "mlflow-runs.png", 1500, 1150, "comparison", then=SHOW_SEEDS)
            picture(page, f"{ui}/{path(experiment, 'methods')}", folder / "mlflow-methods.png", 1700, 750, "avg_at_8/p")
            picture(page, f"{ui}/{path(experiment, 'curves')}", folder / "mlflow-curves.png", 1500, 1300, "Step")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else Path("docs/images"))
