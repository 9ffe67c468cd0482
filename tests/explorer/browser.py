"""A headless Chromium, spoken to through two pipes in the DevTools protocol: no driver, no web socket."""

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
_QUIET = ("--no-first-run", "--disable-background-networking", "--disable-sync", "--disable-component-update")


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser of its own; `events` holds what it told without being asked."""

    def __init__(self, program: str, profile: Path, patience: float = 60.0) -> None:
        self.patience, self.events, self.buffer, self.number = patience, [], b"", 0
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        # The browser reads from 3 and writes to 4; copies far above keep these two free in the child.
        there = [os.dup2(end, number) for end, number in ((read_there, 203), (write_there, 204))]
        self.process = subprocess.Popen(
            ["bash", "-c", 'exec "$0" "$@" 3<&203 4>&204', program, *_FLAGS, *_QUIET, f"--user-data-dir={profile}"],
            pass_fds=there,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (read_there, write_there, *there):
            os.close(end)
        self.read_end, self.write_end, self.session = read_here, write_here, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        self._write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.write_end, data) :]

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + self.patience
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read_end], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self.read_end, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError(f"{self.process.args[3]} ended or said nothing for {self.patience:g} s")
            self.buffer += part
        first, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(first)

    def open(self, path: Path) -> None:
        self.events = []
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, expression: str) -> Any:
        """Return the value of a piece of JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description", result))
        return result["result"].get("value")

    def press(self, character: str) -> None:
        """Press a key and let it go, as a person does."""
        self.call("Input.dispatchKeyEvent", type="keyDown", text=character, key=character)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=character)

    def told(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") in methods]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self.read_end)
        os.close(self.write_end)
