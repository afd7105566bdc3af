"""Which requirements a Python lacks: `python experiments/harness/requirements.py requirements.txt` prints their names.

setup.sh asks this of `.venv`, and every script of the Python that runs it. It uses nothing that old Pythons lack.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

OLDEST = (3, 11)


def lacking(*files: Path) -> list[str]:
    """The distributions that `files` pin for this system and this Python does not have, or that it is too old."""
    if sys.version_info < OLDEST:
        return ["Python {}.{} or newer".format(*OLDEST)]
    return [name for name in named(*files) if not is_installed(name)]


def named(*files: Path) -> list[str]:
    """The names of the distributions that `files` pin for this system."""
    lines = [line.split("#")[0] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    of_linux = 'sys_platform == "linux"'  # the only condition that our files have
    names = [re.match(r"[\w.-]+", line) for line in lines if sys.platform == "linux" or of_linux not in line]
    return [name.group() for name in names if name]


def is_installed(name: str) -> bool:
    """Whether this Python has the distribution `name`, in whatever version."""
    from importlib import metadata  # which Python 3.7 lacks

    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[1:] if name.startswith("requirements")]
    print(*lacking(*files), *([] if is_installed("can") else ["can"]))
