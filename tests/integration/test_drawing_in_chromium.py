"""The drawn page in a real browser: what is on it, what it asks for, and the keyboard."""

import asyncio
import itertools
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fleet import Event, StartEvent, StopEvent, Workflow, draw_run, draw_workflow, step
from fleet.records.envelope import Envelope
from fleet.records.exported.run_export import ExportedRecord, RunExport
from fleet.records.lifecycle import Failed, Failure, Started, StepRecord

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium binary on the path")

#: Without what a browser does on its own: the only requests are the page's.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Question(StartEvent):
    text: str


class Draft(Event):
    """An answer that may be wrong."""

    text: str


class Revise(Event):
    notes: list[str]


class Audit(Event):
    text: str


class DrawnFlow(Workflow):
    """</script><script>document.title = "broken out"</script>"""

    @step
    async def write(self, ev: Question | Revise) -> Draft | Audit:
        return Draft(text="")

    @step
    async def review(self, ev: Draft) -> Revise | StopEvent:
        return StopEvent()

    @step
    async def record(self, ev: Audit) -> None:
        return None


class Browser:
    """A page in Chromium, driven by its debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._loaded = False
        #: Addresses that the page asked for.
        self.requests: list[str] = []
        #: What the console complained about, refusals by the page's policy among it.
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            self._note(message)
            if message.get("id") == number:
                return dict(message["result"])

    async def open(self, path: Path) -> None:
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        self._loaded = False
        await self.call("Page.navigate", url=path.as_uri())
        while not self._loaded:
            self._note(await self._socket.receive_json())

    async def value(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13, "Escape": 27}.get(key, 0)
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def focused(self) -> str:
        """Return the name of the node that has the focus."""
        return str(await self.value("document.activeElement.querySelector('.name').textContent"))

    async def details(self) -> str:
        return str(await self.value("document.querySelector('aside').innerText"))

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return draw_workflow(DrawnFlow, tmp_path / "flow.html")


@pytest.fixture
async def browser(page: Path, tmp_path: Path) -> AsyncIterator[Browser]:
    """A browser that shows the page."""
    profile = tmp_path / "profile"
    process = subprocess.Popen(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _port(profile, process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                [target] = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(target["webSocketDebuggerUrl"]) as socket:
                shown = Browser(socket)
                await shown.open(page)
                yield shown
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def _port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    written = profile / "DevToolsActivePort"
    while not (written.exists() and "\n" in written.read_text()):
        assert process.poll() is None, "chromium ended"
        await asyncio.sleep(0.05)
    return int(written.read_text().splitlines()[0])


def test_the_page_holds_every_node(page: Path, tmp_path: Path) -> None:
    """As the browser has parsed it, with the workflow's details shown first."""
    arguments = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*arguments, page.as_uri()], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.count('class="node ') == 11
    assert done.stdout.count('data-from="') == 11
    assert "<title>DrawnFlow · Fleet workflow</title>" in done.stdout
    assert '<section id="about-all" class="about chosen">' in done.stdout


async def test_the_page_asks_for_nothing_but_itself(browser: Browser, page: Path) -> None:
    """No request leaves the file, and its own policy has nothing to refuse."""
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []


async def test_tab_follows_the_flow(browser: Browser) -> None:
    """After the buttons, from start on."""
    seen = []
    await browser.value("document.querySelector('[data-zoom=fit]').focus()")
    for _ in range(4):
        await browser.press("Tab")
        seen.append(await browser.focused())
    assert seen == ["start", "Question", "write", "Draft"]


async def test_the_focus_is_seen(browser: Browser) -> None:
    """By a ring, which no other node has; its neighbours stay bright."""
    await browser.value("document.querySelector('[data-zoom=fit]').focus()")
    await browser.press("Tab")
    rings = "[...document.querySelectorAll('.ring')].map((r) => getComputedStyle(r).stroke)"
    assert await browser.value(f"{rings}.filter((s) => s !== 'none').length") == 1
    near = "[...document.querySelectorAll('.node.near .name')].map((n) => n.textContent)"
    assert await browser.value(near) == ["start", "Question"]


async def test_arrow_keys_follow_arrows_and_rows(browser: Browser) -> None:
    """Down and up along arrows, also around a loop; left and right within a row."""
    await browser.value("document.querySelector('.node').focus()")
    seen = []
    for key in ("Down", "Down", "Down", "Right", "Left", "Down", "Down", "Down", "Up"):
        await browser.press(f"Arrow{key}")
        seen.append(await browser.focused())
    expected = ["Question", "write", "Draft", "Audit", "Draft", "review", "Revise", "write"]
    assert seen == [*expected, "Question"]
    await browser.press("End")
    assert await browser.focused() == "done"


async def test_enter_shows_details_and_escape_resets(browser: Browser) -> None:
    """The focus stays where it is."""
    await browser.value("document.querySelector('[aria-label^=\"event Draft\"]').focus()")
    await browser.press("Enter")
    assert "An answer that may be wrong." in await browser.details()
    assert "Click a node" not in await browser.details()
    assert await browser.value("document.querySelectorAll('[aria-current=true]').length") == 1
    await browser.press("Escape")
    assert "An answer that may be wrong." not in await browser.details()
    assert "Click a node" in await browser.details()
    assert await browser.value("document.querySelectorAll('[aria-current], .lit').length") == 0
    assert await browser.focused() == "Draft"


async def test_a_click_shows_details(browser: Browser) -> None:
    """Also one on a name in the details, which moves on to that node."""
    await browser.value(
        "document.querySelector('.node.step .shape').dispatchEvent(CLICK)".replace(
            "CLICK", "new MouseEvent('click', {bubbles: true, cancelable: true})"
        )
    )
    assert "num_workers" in await browser.details()
    await browser.value("document.querySelector('.about.chosen a').click()")
    assert "start event" in await browser.details()
    assert await browser.focused() == "Question"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_contrast(browser: Browser, scheme: str) -> None:
    """WCAG AA, 4.5 to 1, for every name against its shape and every word against the page."""
    await browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    ratios = await browser.value(CONTRAST)
    assert len(ratios) > 10
    assert min(ratios.values()) >= 4.5, ratios


def failed_run() -> RunExport:
    """Return a run that has failed in its review."""

    def record(topic: str, envelope: Envelope, value: bytes) -> ExportedRecord:
        headers = envelope.headers()
        return ExportedRecord(topic=topic, offset=0, appended_ms=1, headers=headers, value=value)

    def attempt(step: str, event_id: str, event_type: str, **more: Any) -> ExportedRecord:
        told = StepRecord(
            step=step,
            group="main",
            event_id=event_id,
            event_type=event_type,
            attempt=1,
            queued=1,
            started=1,
            finished=2,
            **more,
        )
        return record("f.history", Envelope("r", event_id, StepRecord.kind), told.encode())

    failure = Failure(module="builtins", type="ValueError", message="<b>no</b> review")
    started = Started(start_event_id="q")
    failed = Failed(step="review", event_id="d", failure=failure)
    return RunExport(
        run_id="r",
        workflow="drawn",
        group="main",
        prefix="f",
        workflow_class="",
        outcome="failed",
        events=[
            record("f.Question", Envelope("r", "q", "Question"), b"{}"),
            record("f.Draft", Envelope("r", "d", "Draft", parent_id="q"), b"{}"),
        ],
        lifecycle=[
            record("f.runs", Envelope("r", "q", Started.kind), started.encode()),
            record("f.runs", Envelope("r", "d", Failed.kind), failed.encode()),
        ],
        history=[
            attempt("write", "q", "Question", outcome="returned", sent=("Draft",)),
            attempt("review", "d", "Draft", outcome="raised"),
        ],
    )


async def test_the_page_of_a_run(browser: Browser, tmp_path: Path) -> None:
    """It asks for nothing, tells the failure first, and its words have contrast in both modes."""
    page = draw_run(failed_run(), tmp_path / "run.html", workflow=DrawnFlow)
    await browser.open(page)
    assert browser.complaints == []
    assert "ValueError: <b>no</b> review" in await browser.details()
    failed = "[...document.querySelectorAll('.node.failed')].map((n) => n.ariaLabel)"
    (said,) = await browser.value(failed)
    assert said.startswith("step review; ")
    assert said.endswith("; failed")
    for scheme in ("light", "dark"):
        media = {"name": "prefers-color-scheme", "value": scheme}
        await browser.call("Emulation.setEmulatedMedia", features=[media])
        ratios = await browser.value(CONTRAST)
        assert min(ratios.values()) >= 4.5, ratios


CONTRAST = """(() => {
  const light = (color) => {
    const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(part);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const page = getComputedStyle(document.body).backgroundColor;
  const found = {};
  for (const node of document.querySelectorAll(".node")) {
    const shape = getComputedStyle(node.querySelector(".shape")).fill;
    for (const text of node.querySelectorAll("text")) {
      found[text.textContent] = ratio(getComputedStyle(text).fill, shape);
    }
  }
  for (const each of document.querySelectorAll(
    "h1, .summary, .hint, .keys dd, .about dt, .run h2, .error, .timeline td"
  )) {
    found[each.textContent] = ratio(getComputedStyle(each).color, page);
  }
  return found;
})()"""
