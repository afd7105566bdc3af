"""The clients of package registries, which know mirrors, proxies and credentials: apt-get, dpkg, npm and pip."""

from __future__ import annotations

import subprocess
from pathlib import Path

_TIMEOUT_S = 900


class ClientError(Exception):
    """A client that is not here, did not end in time or said that it failed.

    Attributes:
      first: line of what it said, or what happened to it.
      last: line of that.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        lines = said.strip().splitlines()
        self.first, self.last = lines[0], lines[-1]


def run_client(command: list[str], folder: Path | None = None) -> str:
    """What the command writes to its output; it asks nobody anything, and has a quarter of an hour.

    Raises ClientError.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or "").strip()
        raise ClientError(said or str(error) or type(error).__name__) from error
    return done.stdout
