"""A real headless Chromium, and what a person does with it: look, wait, click."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

#: How long a page may take to show what it should on a loaded machine, in seconds.
PATIENCE_S = 90.0

#: Root's Chromium needs no-sandbox; the other flags keep it from asking for hosts
#: outside, and from shared memory that containers do not have.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1600,1000",
)

#: What a Bokeh page holds once it has drawn itself: canvases, which Bokeh puts into
#: shadow roots, and the number of values that the server has sent.
BOKEH_STATE = """
const canvases = (root) => [...root.querySelectorAll("*")].reduce(
    (sum, node) => sum + (node.tagName === "CANVAS")
        + (node.shadowRoot ? canvases(node.shadowRoot) : 0), 0);
const sizes = (typeof Bokeh === "undefined" ? [] : Bokeh.documents)
    .flatMap((document) => [...document._all_models.values()])
    .filter((model) => model.type === "ColumnDataSource")
    .map((source) => source.get_length() ?? 0);
return [canvases(document), Math.max(0, ...sizes)];
"""

#: Whether something has been painted on a canvas.
PAINTED = """
const {width, height} = arguments[0];
const pixels = arguments[0].getContext("2d").getImageData(0, 0, width, height).data;
return pixels.some((value) => value > 0);
"""


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Start a Chromium with an empty profile; close it, with all its processes.

    Without the programs the test skips on a user's machine and fails in CI.
    """
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if path is None]:
        reason = f"no {' and no '.join(missing)}: apt install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(str(programs["chromedriver"]))
    driver = webdriver.Chrome(options=options, service=service)
    family = psutil.Process(service.process.pid).children(recursive=True)
    try:
        yield driver
    finally:
        driver.quit()
        _, left = psutil.wait_procs(family, timeout=PATIENCE_S)
        for orphan in left:
            orphan.kill()
    assert not left, f"still running after Chromium was closed: {left}"


class Page:
    """The tab in front."""

    def __init__(self, driver: webdriver.Chrome, *, artefacts: Path) -> None:
        self.driver = driver
        self.artefacts = artefacts

    def all(self, css: str) -> list[WebElement]:
        """Return the elements that can be seen."""
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return [element for element in found if element.is_displayed()]

    def until(self, shown: Callable[[], Any], what: str) -> Any:
        """Wait until a function returns something, and return that."""
        waiting = WebDriverWait(
            self.driver, PATIENCE_S, ignored_exceptions=[WebDriverException]
        )
        try:
            return waiting.until(lambda _: shown())
        except TimeoutException:
            self.keep("failed")
            pytest.fail(f"waited in vain for {what}; lab-failed.png shows the page")

    def see(self, css: str) -> WebElement:
        """Wait until an element can be seen."""
        return self.until(lambda: self.all(css), css)[0]

    def scroll_to(self, css: str) -> WebElement:
        """Wait until an element can be seen, and bring it to the middle."""
        element = self.see(css)
        self.driver.execute_script(
            "arguments[0].scrollIntoView({block: 'center'})", element
        )
        return element

    def click(self, css: str) -> None:
        """Click an element, scrolled into view first."""
        element = self.scroll_to(css)
        self.until(lambda: element.click() or True, f"a click on {css}")

    def run_cell(self, index: int) -> None:
        """Run a notebook's code cell, again where the kernel was not ready yet.

        A kernel that is connected in the meantime takes the star of a cell away again.
        """

        def ended() -> bool:
            cell = self.driver.find_elements(By.CSS_SELECTOR, ".jp-CodeCell")[index]
            self.driver.execute_script("arguments[0].scrollIntoView()", cell)
            prompt = cell.find_element(By.CSS_SELECTOR, ".jp-InputPrompt")
            if re.fullmatch(r"\[(\*|\d+)\]:", prompt.text):
                return "*" not in prompt.text
            cell.find_element(By.CSS_SELECTOR, ".cm-content").click()
            self.driver.switch_to.active_element.send_keys(Keys.SHIFT, Keys.ENTER)
            return False

        self.until(ended, f"code cell {index} to run")

    def see_bokeh(self, values: int = 0) -> None:
        """Wait until the frame in front has drawn a plot with that many values."""

        def drawn() -> bool:
            canvases, sent = self.driver.execute_script(BOKEH_STATE)
            return canvases > 0 and sent >= values

        self.until(drawn, f"a Bokeh plot with {values} values")

    def see_painted(self, css: str) -> None:
        """Wait until a canvas shows something."""
        self.until(
            lambda: self.driver.execute_script(PAINTED, self.see(css)),
            f"something on {css}",
        )

    def console_errors(self) -> list[str]:
        """Return the errors that the console has logged since this was last asked."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def keep(self, name: str) -> None:
        """Keep a screenshot for people."""
        self.driver.save_screenshot(str(self.artefacts / f"lab-{name}.png"))
