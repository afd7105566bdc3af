"""Provenance: what made a run's numbers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from can.data import ArrayImages
from can.runs.provenance import described, git_state, provenance


def test_provenance_says_what_made_the_numbers_but_not_who_or_where() -> None:
    def images(name: str, **fields: Any) -> ArrayImages:
        return ArrayImages(name, "train", None, (), "0123", np.zeros((1, 2, 2, 3), np.uint8), None, **fields)

    assert described(images("fashion_mnist")) == {"fashion_mnist train": "0123"}
    assert described(images("/data/tfds/set")) == {"set train": "0123"}
    trained_on = images("folder:/home/someone/photos", shares={"photos": 0.75, "drawings": 0.25})
    record = provenance(trained_on, started=time.time() - 5, wall_time_s=5.04, steps=10, images_per_second=812.34)
    assert record["data"] == {"folder:photos train": "0123"}
    assert record["shares"] == {"photos": 0.75, "drawings": 0.25}
    assert record["wall_time_s"] == 5.0
    assert record["images_per_second"] == 812.3
    assert record["cpu"]["count"] >= 1
    assert record["peak_memory_mb"] > 50
    assert record["versions"]["jax"] == __import__("jax").__version__
    text = json.dumps(record)
    assert "/" not in text.replace(record["device"]["kind"], "").replace(record["cpu"]["model"], "")
    assert os.uname().nodename not in text


def test_the_git_state_is_the_commit_and_whether_the_sources_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    nothing = {"commit": None, "dirty": None}
    assert git_state(tmp_path) == nothing
    git("init", "-q")
    assert git_state(tmp_path) == nothing | {"why": "fatal: Needed a single revision"}  # no commit yet
    (tmp_path / "can").mkdir()
    (tmp_path / "can" / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert git_state(tmp_path) == clean
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "train.csv").touch()
    assert git_state(tmp_path) == clean  # results are not sources
    assert git_state(tmp_path / "can") == nothing  # a package that merely lies in some repository
    (tmp_path / "can" / "a.py").write_text("2")
    assert git_state(tmp_path) == clean | {"dirty": True}
