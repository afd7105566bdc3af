"""Chromium without a window, steered over two pipes (the DevTools protocol), for the tests of the page of results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")


class Tab:
    """One page. `events` are what the browser told of it so far, such as requests and lines of the console."""

    def __init__(self, commands: int, answers: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._commands, self._answers = commands, os.fdopen(answers, "rb")
        self._session, self._count, self._read = "", 0, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command. Raises AssertionError if the browser refuses it."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Shows a file, until it is loaded, on a screen of this width."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=True)
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, script: str) -> Any:
        """What an expression of JavaScript is worth in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def told(self, *methods: str) -> list[dict[str, Any]]:
        """The events of these kinds."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            part = os.read(self._answers.fileno(), 1 << 16)
            assert part, "the browser is gone"
            self._read += part
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def started(profile: Path) -> Iterator[Tab]:
    """A browser with a fresh profile."""
    assert CHROMIUM
    theirs, commands = os.pipe()
    answers, theirs_too = os.pipe()
    # The protocol wants the pipes as file descriptors 3 and 4.
    redirected = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{theirs_too}', "bash", CHROMIUM, *FLAGS]
    process = subprocess.Popen(
        [*redirected, f"--user-data-dir={profile}"], pass_fds=(theirs, theirs_too), stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    os.close(theirs_too)
    try:
        yield Tab(commands, answers)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
