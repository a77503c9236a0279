"""A headless Chromium that is told what to do over a pipe, by its DevTools protocol: pages are opened and used."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
AT_3_AND_4 = """
import fcntl, os, sys
for number, end in enumerate([fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]], start=3):
    os.dup2(end, number)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Starts a program that reads from 3 and writes to 4, whatever the numbers of these pipes are here."""
SECONDS = 30.0
"""Seconds that an answer is waited for."""


class Browser:
    """One Chromium with one page, to be used in a `with` block, behind which it is ended.

    Attributes:
        said (`list[str]`): errors of scripts, what the console was told, and what the page was not allowed to do.
        asked (`list[str]`): addresses that were asked for, the page's own among them.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._rest = b""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            from_us, self._to = os.pipe()
            self._from, to_us = os.pipe()
            command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
            self._process = subprocess.Popen(
                [sys.executable, "-c", AT_3_AND_4, str(from_us), str(to_us), *command],
                pass_fds=(from_us, to_us),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(self._end)
            os.close(from_us)
            os.close(to_us)
            self._session = ""
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        """End the browser with all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and give its result.

        Raises:
            RuntimeError: The browser says that it cannot be done, or has ended.
            TimeoutError: It does not answer.
        """
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        for answer in self._read():
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
        raise AssertionError

    def open(self, address: str) -> None:
        """Open a page anew, and wait until it has been loaded."""
        for place in ("about:blank", address):  # to another place in the same page a browser only goes
            self._events.clear()
            self.call("Page.navigate", url=place)
            if not any(event["method"] == "Page.loadEventFired" for event in self._events):
                next(event for event in self._read() if event.get("method") == "Page.loadEventFired")

    def run(self, expression: str) -> Any:
        """Evaluate an expression in the page, and give its value; a promise is waited for.

        Raises:
            RuntimeError: It has raised an error.
        """
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"].get("exception", {}).get("description", "an error"))
        return done["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true in the page, and give its value."""
        return self.run(
            "new Promise((done, fail) => { const end = Date.now() + 50000; const look = () => { const value = "
            f"({expression}); if (value) done(value); else if (Date.now() > end) fail(new Error('never true')); "
            "else setTimeout(look, 20); }; look(); })"
        )

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def emulate(self, width: int, height: int, scheme: str = "light") -> None:
        """Let the page have a width and a height in pixels, and a colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def take_picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _read(self) -> Iterator[dict[str, Any]]:
        """Iterate over what the browser says, and keep what tests ask for."""
        while True:
            while b"\0" in self._rest:
                line, _, self._rest = self._rest.partition(b"\0")
                message = json.loads(line)
                self._note(message)
                yield message
            if not select.select([self._from], [], [], SECONDS)[0]:
                raise TimeoutError(f"the browser has said nothing for {SECONDS:.0f} seconds")
            data = os.read(self._from, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._rest += data

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method is not None:
            self._events.append(message)
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(argument.get("value")) for argument in parameters["args"]))
        elif method == "Log.entryAdded":
            self.said.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"])
