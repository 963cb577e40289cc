"""Headless Chromium for the tests; they are skipped, with a line that says so, where there is none."""
import shutil

import pytest


def open_chromium(tmp_path, *more):
    "A browser with an empty profile and no errands of its own."
    selenium = pytest.importorskip("selenium.webdriver", reason="a test in a browser needs selenium (pip install -e '.[dev]')")
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not program or not driver:
        pytest.skip("a test in a browser needs Chromium (apt-get install chromium chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for word in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
                 "--disable-sync", "--disable-dev-shm-usage", "--window-size=1400,1000", f"--user-data-dir={tmp_path}/profile", *more):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return selenium.Chrome(options, selenium.ChromeService(driver))


def complaints(browser) -> list:
    "What the console says is wrong."
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
