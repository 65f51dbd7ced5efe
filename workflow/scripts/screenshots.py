"""Pictures of a finished study for the docs: its report on a screen and on a phone, and its pages in MLflow.

    python workflow/scripts/screenshots.py STUDY_NAME

Needs Chromium with its driver, and Selenium (`pip install -e '.[integration]'`). Reads results/report.html and mlflow.db of
this checkout, writes docs/images/*.png.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from selenium import webdriver

IMAGES = Path("docs/images")
DATABASE = "sqlite:///mlflow.db"
LARGEST = 300_000  # bytes


def browser() -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def picture(page: Any, url: str, name: str, width: int, height: int, words: str) -> None:
    """Wait until the page shows ``words``, then write docs/images/``name``.png of exactly this size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get(url)
    deadline = time.monotonic() + 300
    while words not in page.execute_script("return document.body.innerText") and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(3)  # what is still being drawn
    data = b64decode(page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
    (IMAGES / f"{name}.png").write_bytes(data)
    print(f"{name}.png: {len(data)} bytes" + (" - TOO LARGE" if len(data) > LARGEST else ""))


def main(study: str) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(DATABASE)
    experiment = client.get_experiment_by_name(study).experiment_id
    runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        DATABASE,
        "--workers",
        "1",
        "--port",
        str(port),
    ]
    light = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        command, env=light, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    page = browser()
    try:
        report = Path("results/report.html").resolve().as_uri()
        picture(page, report, "report", 1100, 1500, "Methods")
        picture(page, report, "report-phone", 390, 1200, "Methods")
        while subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}/health"], capture_output=True).returncode:
            time.sleep(1)
        ui = f"http://127.0.0.1:{port}/#/experiments/{experiment}"
        picture(
            page, f"{ui}/runs?orderByKey=metrics.%60avg_at_8%60&orderByAsc=false", "mlflow-runs", 1500, 900, "sgopd"
        )
        compared = json.dumps([runs[name] for name in ("opd", "sgopd", "sgopd-no-gate")])
        compare = f"http://127.0.0.1:{port}/#/compare-runs?runs={compared}&experiments=[%22{experiment}%22]"
        picture(page, compare, "mlflow-compare", 1500, 1100, "avg_at_8")
        picture(page, f"{ui}/runs/{runs['sgopd seed 0']}/model-metrics", "mlflow-curves", 1500, 1000, "reward")
    finally:
        page.quit()
        os.killpg(server.pid, signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
