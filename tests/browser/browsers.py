"""A real Chromium, which reaches nothing but this machine, and the docs page in it."""

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

WAIT_SECONDS_MAX = 30.0
"""Generous, for machines that are busy; a quiet one shows everything in less than 2."""

# Each is asked for by what the variable names, or by one of these names.
_PROGRAMS = {
    "TEST_CHROMIUM": ("chromium", "chromium-browser", "google-chrome"),
    "TEST_CHROMEDRIVER": ("chromedriver",),
}
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    # Else it calls its maker: what the log shows is to be what the page asked for.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    # So that pictures are the same wherever they are taken.
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How somebody looks at a page."""

    width: int
    height: int
    scheme: str
    scale: int = 1
    is_phone: bool = False

    @property
    def name(self) -> str:
        return f"{'phone' if self.is_phone else 'desktop'}-{self.scheme}"


DESKTOP = Look(width=1280, height=800, scheme="light")
DESKTOP_DARK = Look(width=1280, height=800, scheme="dark")
PHONE = Look(width=390, height=844, scale=2, is_phone=True, scheme="light")
PHONE_DARK = Look(width=390, height=844, scale=2, is_phone=True, scheme="dark")
LOOKS = (DESKTOP, DESKTOP_DARK, PHONE, PHONE_DARK)


def programs() -> tuple[str, str] | str:
    """The paths of browser and driver, or which are missing, in words."""
    found = {
        variable: os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
        for variable, names in _PROGRAMS.items()
    }
    browser, driver = found.values()
    if browser and driver:
        return browser, driver
    missing = " and ".join(_PROGRAMS[variable][0] for variable in found if not found[variable])
    return (
        f"skipped because there is no {missing} on this machine "
        f"(Debian: apt install chromium chromium-driver; or set {' and '.join(_PROGRAMS)})"
    )


@contextmanager
def running_chromium(browser: str, driver: str) -> Iterator[Chrome]:
    options = Options()
    options.binary_location = browser
    for flag in _FLAGS:
        options.add_argument(flag)
    if os.geteuid() == 0:
        # As root, Chromium has no sandbox. It sees only the shop's own pages.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chromium = Chrome(options=options, service=Service(driver))
    try:
        chromium.set_page_load_timeout(WAIT_SECONDS_MAX)
        chromium.set_script_timeout(4 * WAIT_SECONDS_MAX)
        yield chromium
    finally:
        chromium.quit()


class Page:
    """A tab with a page of the shop."""

    def __init__(self, chromium: Chrome, address: str) -> None:
        self.chromium = chromium
        self.address = address
        self.requests: list[str] = []
        """Of all that the page asked for, `METHOD URL`, in order."""
        self.errors: list[str] = []
        """What the browser complained about in its console."""
        self.chromium.get("about:blank")
        self.read_logs()
        self.requests.clear()
        self.errors.clear()

    def open(self, path: str, look: Look = DESKTOP) -> None:
        self._command(
            "Emulation.setDeviceMetricsOverride",
            width=look.width,
            height=look.height,
            deviceScaleFactor=look.scale,
            mobile=look.is_phone,
        )
        features = {"prefers-color-scheme": look.scheme, "prefers-reduced-motion": "reduce"}
        self._command(
            "Emulation.setEmulatedMedia",
            features=[{"name": name, "value": value} for name, value in features.items()],
        )
        self.chromium.get(f"{self.address}{path}")
        if path.startswith("/docs"):
            self.one("#operations-Health-health")

    def _command(self, name: str, **parameters: Any) -> Any:
        return self.chromium.execute_cdp_cmd(name, parameters)

    # --- what is there ---

    def wait(self, until: Callable[[], Any], what: str) -> Any:
        return WebDriverWait(self.chromium, WAIT_SECONDS_MAX, poll_frequency=0.05).until(
            lambda _: until(), message=f"There was never {what}"
        )

    def one(self, selector: str) -> WebElement:
        """The first that is shown; it is waited for."""

        def shown() -> WebElement | None:
            found = self.chromium.find_elements(By.CSS_SELECTOR, selector)
            return next((each for each in found if each.is_displayed()), None)

        found: WebElement = self.wait(shown, selector)
        return found

    def says(self, words: str) -> None:
        """Wait until the sign-in form says so."""
        self.wait(
            lambda: words in self.one("#signed-in").text,
            f"{words!r}, but {self.one('#signed-in').text!r}",
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.chromium.execute_script(script, *arguments)

    def read_logs(self) -> None:
        """Add what happened since to `requests` and `errors`."""
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                request = message["params"]["request"]
                self.requests.append(f"{request['method']} {request['url']}")
        for entry in self._log("browser"):
            self.errors.append(entry["message"])

    def _log(self, kind: str) -> list[dict[str, Any]]:
        """What came since it was read last."""
        entries: list[dict[str, Any]] = self.chromium.get_log(kind)  # type: ignore[no-untyped-call]
        return entries

    @property
    def others(self) -> list[str]:
        """The requests that left the shop; pictures in data URLs leave nobody."""
        self.read_logs()
        urls = [request.partition(" ")[2] for request in self.requests]
        return [
            url for url in urls if not url.startswith("data:") and self._host(url) != self.address
        ]

    def _host(self, url: str) -> str:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}"

    def asked(self, request: str) -> int:
        """How often the page asked for `METHOD /path`."""
        self.read_logs()
        method, _, path = request.partition(" ")
        return self.requests.count(f"{method} {self.address}{path}")

    def picture(self) -> bytes:
        """What is on the screen, as PNG."""
        return base64.b64decode(self._command("Page.captureScreenshot", format="png")["data"])

    # --- what one does ---

    def sign_in(self, username: str, password: str) -> None:
        for name, value in {"username": username, "password": password}.items():
            field = self.one(f"#sign-in [name={name}]")
            field.clear()
            field.send_keys(value)
        self.one("#sign-in [type=submit]").click()

    def click(self, selector: str) -> None:
        """In the middle of the screen, where nothing hides it."""
        element = self.one(selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()

    def unfold(self, operation: str) -> None:
        """An operation by its tag and name, such as `Orders-placeOrder`."""
        self.click(f"#operations-{operation} .opblock-summary-control")
        self.one(f"#operations-{operation} .execute")

    def execute(self, operation: str) -> tuple[int, Any]:
        """Status and JSON of what one gets for trying out an unfolded operation."""
        self.click(f"#operations-{operation} .execute")
        return self.answer(operation)

    def answer(self, operation: str) -> tuple[int, Any]:
        """What is shown when the answer is there."""
        block = f"#operations-{operation}"
        shown = f"{block} .live-responses-table .response-col_status"
        status = int(self.one(f"{shown}:not(.col_header)").text.split()[0])
        body = self.run(
            "return document.querySelector(arguments[0])?.textContent",
            f"{block} .live-responses-table .response .highlight-code code",
        )
        return status, json.loads(body) if body else None

    def clear(self, operation: str) -> None:
        """Take the last answer away, so that the next one can be waited for."""
        self.click(f"#operations-{operation} .btn-clear")

    def press(self, *keys: str) -> None:
        """On the keyboard, whatever has the focus."""
        ActionChains(self.chromium).send_keys(*keys).perform()

    def tab_to(self, selector: str, *, presses_max: int = 60) -> None:
        """By the Tab key alone. Raises AssertionError where the focus is not seen."""
        for _ in range(presses_max):
            self.press(Keys.TAB)
            focused = self.run(_FOCUSED, selector)
            assert focused["shown"], f"the focus is not seen on {focused['html']}"
            if focused["there"]:
                return
        raise AssertionError(f"{presses_max} Tabs do not lead to {selector}")


_FOCUSED = """
const element = document.activeElement, style = getComputedStyle(element);
const box = element.getBoundingClientRect();
return {
  there: element.matches(arguments[0]),
  html: element.outerHTML.slice(0, 200),
  shown: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
    && box.bottom > 0 && box.top < innerHeight,
};
"""
