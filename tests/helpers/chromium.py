"""A headless Chromium over its debugging pipe: a page, what it says and asks for, and what it looks like.

SEM_BENCH_TEST_CHROMIUM names the program; without it tests that need one are skipped.
"""

import base64
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = os.environ.get("SEM_BENCH_TEST_CHROMIUM", "")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--remote-debugging-pipe", "--hide-scrollbars"),
)
Json = dict[str, Any]


class Page:
    """The one page of a browser."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = os.fdopen(reader, "rb"), os.fdopen(writer, "wb")
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[Json] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Json:
        """Send a command and return its result. Raises RuntimeError where the browser refuses it."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def _next(self) -> Json:
        while b"\0" not in self._buffer:
            more = self._reader.read1(2**20)
            if not more:
                raise RuntimeError("the browser has ended")
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, path: Path) -> None:
        """Load a file, to its end."""
        self.events.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script: str) -> Any:
        """The value of an expression in the page. Raises RuntimeError for an exception."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def said(self) -> list[str]:
        """Errors and other lines of the console so far."""
        self.run("0")  # events come before the answer
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in names]

    def asked_for(self) -> list[str]:
        """The addresses of all requests so far."""
        sent = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [str(event["params"]["request"]["url"]) for event in sent]

    def looks(self, *, width: int = 1280, dark: bool = False, media: str = "") -> None:
        """What it is shown on."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def picture(self, path: Path, *, top: int = 0, height: int = 0) -> None:
        """A PNG of the page, or of a part of it."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        self.ask("Browser.close")
        self._reader.close()
        self._writer.close()


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a folder of its own, and its page."""
    ours, theirs = os.pipe(), os.pipe()  # (read, write): what it says, what it hears
    heard, said = (fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (theirs[0], ours[1]))

    def three_and_four() -> None:
        os.dup2(heard, 3)
        os.dup2(said, 4)

    process = subprocess.Popen(
        [PROGRAM, *OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(3, 4, heard, said),
        preexec_fn=three_and_four,
        stderr=subprocess.DEVNULL,
    )
    for one in (theirs[0], ours[1], heard, said):
        os.close(one)
    page = Page(ours[0], theirs[1])
    try:
        yield page
    finally:
        page.close()
        process.wait(timeout=30)
