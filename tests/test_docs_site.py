"""The site of the docs: every page is there, and every link and anchor leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="the site is made by mkdocs-material")

REPOSITORY = Path(__file__).resolve().parent.parent


def test_the_site_is_built_without_a_broken_link_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.parent.name for path in (tmp_path / "docs").glob("*/index.html")}
    assert pages == {path.stem for path in (REPOSITORY / "docs").iterdir() if path.suffix in (".md", ".ipynb")}
    home = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(https?:[^"]*\.(?:css|js|woff2?)[^"]*)"', home) == []
    assert 'href="docs/commands/"' in home and 'href="results/published/laptop/table2/"' in home
