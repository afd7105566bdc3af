"""How long a run took is told by a clock that nobody sets, and a damaged record costs that time alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from absl import logging

from can.runs.clock import Clock
from can.runs.provenance import provenance_of_evaluation


def test_a_clock_that_is_set_back_makes_no_time_negative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, begun, now = Clock(tmp_path / "clock.json", 0), time.monotonic(), time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    assert 0 <= clock.elapsed() < 60
    made = provenance_of_evaluation(begun)
    assert 0 <= made["wall_time_s"] < 60 and made["started"] <= made["finished"]


def test_the_time_of_all_restarts_is_added_up(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    path.write_text('{"started": 1e9, "seconds": 100.5}')
    clock = Clock(path, 7)
    assert clock.started == 1e9 and 100.5 <= clock.elapsed() < 160
    clock.save()
    assert json.loads(path.read_text())["seconds"] >= 100.5
    assert Clock(path, 0).elapsed() < 60  # a training that starts anew


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "7",
        '{"started": 1e9}',
        '{"started": 1e9, "seconds": -5}',
        '{"started": 1e9, "seconds": "long"}',
        '{"started": 1e300, "seconds": 5}',
        '{"started": -1, "seconds": 5}',
        '{"started": 1e9, "seconds": NaN}',
        '{"started": 1e9, "seconds": 1e999}',
        '{"started": 1e9, "seconds": ' + "9" * 400 + "}",
        "\xff",
    ],
)
def test_a_damaged_record_of_time_costs_the_time_alone(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lines, now = tmp_path / "clock.json", [], time.time()
    path.write_text(content, encoding="latin-1")
    monkeypatch.setattr(logging, "warning", lambda text, *values: lines.append(text % values))
    clock = Clock(path, 7)
    assert 0 <= clock.elapsed() < 60 and now - 60 < clock.started < now + 60
    assert len(lines) == 1 and "the time until now is not counted" in lines[0]
