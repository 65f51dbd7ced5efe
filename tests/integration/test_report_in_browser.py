"""The report in a real browser: what models and data sets wrote stays text."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sgopd.reporting.report import write_report
from tests.reporting.test_reporting import inputs, numbers  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
OWN = "document.documentElement.dataset.owned=1"
ATTACKS = [
    f"<script>{OWN}</script>",
    f"</script><script>{OWN}</script>",
    f'"><img src=x onerror="{OWN}">',
    f"</pre><svg onload={OWN}>",
    f"<iframe srcdoc='<script>parent.{OWN}</script>'>",
    f"'-{OWN}-'",
    f"</title><script>{OWN}</script>",
    f"<!--><script>{OWN}</script>-->",
]


def dom(path: Path) -> str:
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={path.parent}/profile",
        "--virtual-time-budget=3000",
        "--dump-dom",
        path.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_rollouts_that_hold_scripts_run_nothing(numbers, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    write_report(inputs(numbers, "".join(ATTACKS)), tmp_path / "report.html")
    page = dom(tmp_path / "report.html")
    assert "data-owned" not in page.replace("dataset.owned", "") and "<h1>" in page
    (tmp_path / "open.html").write_text(f"<html><body>{ATTACKS[0]}</body></html>")
    assert 'data-owned="1"' in dom(tmp_path / "open.html")  # the attack itself works
