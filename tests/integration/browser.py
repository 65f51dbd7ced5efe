"""Chromium without a window, driven through its own driver."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def chromium(width: int = 1200, height: int = 1000) -> Iterator[Any]:
    """A browser whose pages are exactly ``width`` CSS pixels wide; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no Selenium here; pip install 'sgopd[integration]'")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium here; apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    try:
        resize(page, width, height)
        yield page
    finally:
        page.quit()


def resize(page: Any, width: int, height: int) -> None:
    """Lay the page out as on a screen of this size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def text_of(page: Any) -> str:
    """The text that the page shows."""
    return str(page.execute_script("return document.body.innerText"))
