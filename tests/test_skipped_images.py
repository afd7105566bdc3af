"""Damaged images that a training leaves out are counted, over restarts, and too many stop it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from can.errors import DataError, UserError
from can.runs.skipped import Skipped

BATCH = 1000


def batch(bad: int) -> dict[str, Any]:
    return {"image": np.zeros((BATCH, 2)), "skipped": np.arange(BATCH) < bad}


def test_batches_that_are_read_ahead_count_when_they_are_trained_on(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "skipped.json", 0)
    for bad in (0, 1, 1):
        assert skipped.take_from(batch(bad)).keys() == {"image"}
    skipped.check(2, BATCH)
    assert skipped.count == 1
    skipped.save(2)
    again = Skipped(tmp_path / "skipped.json", 2)
    again.take_from(batch(1))
    again.check(3, BATCH)
    assert again.count == 2
    assert Skipped(tmp_path / "skipped.json", 1).count == 0  # it goes on from an older checkpoint


def test_more_than_a_thousandth_stops_the_training(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "skipped.json", 0)
    skipped.take_from(batch(1))
    skipped.check(1, BATCH)
    skipped.take_from(batch(2))
    with pytest.raises(UserError, match="3 of 2000 images are damaged, more than 0.1%"):
        skipped.check(2, BATCH)


def test_one_of_a_few_is_no_reason_to_stop(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "skipped.json", 0)
    skipped.take_from({"image": np.zeros((8, 2)), "skipped": np.arange(8) == 3})
    skipped.check(1, 8)
    assert skipped.count == 1


def test_without_marks_nothing_is_skipped(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "skipped.json", 0)
    skipped.take_from({"image": np.zeros((8, 2))})
    skipped.check(1, 8)
    assert skipped.count == 0


@pytest.mark.parametrize("content", ["[]", json.dumps({"step": 3}), json.dumps({"step": 3, "skipped": None})])
def test_a_damaged_count_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "skipped.json"
    path.write_text(content)
    with pytest.raises(DataError, match="skipped.json is damaged"):
        Skipped(path, 3)
