"""What a plan costs: operations of the runs, and the time that earlier ones took."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from invented import add, setting, spec

from can.system.files import read_json, write_json
from experiments.harness import cost, measured_speed
from experiments.harness.plan import planned
from experiments.harness.setting import Setting
from experiments.harness.spec import Need, Spec


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path, "smoke")


def took(here: Setting, row: str | Spec, seconds: float, probe: float) -> None:
    """A finished run that says how long it took."""
    folder = add(here, row, top1=50.0)
    made = folder.results / "provenance.json"
    steps = folder.config.optim.last_step
    write_json(made, read_json(made) | {"wall_time_s": seconds, "steps": steps})
    evaluated = read_json(folder.eval_path("linear_probe"))
    evaluated["provenance"]["wall_time_s"] = probe
    write_json(folder.eval_path("linear_probe"), evaluated)


def minutes(plan: str, name: str) -> float:
    (line,) = [line for line in plan.splitlines() if f" {name} " in line]
    found = re.search(r"(\d+\.\d)  ", line)
    assert found
    return float(found[1])


def test_time_is_that_of_finished_runs_of_the_method_by_operations_and_of_their_evaluations(here: Setting) -> None:
    took(here, "can/vit_l/800", seconds=600.0, probe=120.0)
    took(here, "mae/vit_l/800", seconds=60.0, probe=240.0)
    plan = cost.plan_table(planned([Need(spec("can/vit_l/5000"))], here, seeds=[0]), at_once=1)
    steps = [here.run(spec(f"can/vit_l/{epochs}"), 0).config.optim.last_step for epochs in (800, 5000)]
    expected = 600 / 60 * steps[1] / steps[0] + 180 / 60  # the median of both probes
    assert minutes(plan, "can-vitl-jft-e5000-s0") == pytest.approx(expected, abs=0.06)
    assert "pre-training: finished here, 1 runs" in plan and "linear_probe: finished here, 1 runs" in plan
    halved = cost.plan_table(planned([Need(spec("can/vit_l/5000"))], here, seeds=[0]), at_once=2)
    assert f"missing: about {expected / 2:.0f} minutes, 2 runs at a time" in halved


def test_the_operations_of_few_runs_are_counted_and_only_where_they_are_asked_for(
    here: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting traces a program for each shape; a plan of one run does not wait for a hundred."""
    for number in range(12):
        took(here, Spec("can", "vit_b", "jft", 100).but(mask_rate=0.05 * number), seconds=60.0, probe=1.0)
    took(here, "mae/vit_b/100", seconds=60.0, probe=1.0)
    counted = []
    monkeypatch.setattr(cost, "_flops_per_step", lambda config: counted.append(config) or 10**9)
    speeds = measured_speed.Speeds(here, cost.pretraining_flops)
    assert counted == []
    found = speeds.training(here.run(spec("can/vit_b/800"), 0).config)
    steps = here.run(spec("mae/vit_b/100"), 0).config.optim.last_step
    assert found == (steps * 10**9 / 60, measured_speed.HERE)
    assert {config.method.name for config in counted} == {"can"} and len(counted) <= measured_speed.ENOUGH


def test_what_was_never_timed_is_assumed_or_named_and_what_is_done_costs_nothing(here: Setting, tmp_path: Path) -> None:
    needs = [Need(spec("can/vit_b/800"), ("linear_probe", "robustness"))]
    plan = cost.plan_table(planned(needs, here, seeds=[0]), at_once=1)
    assert "of this machine's" in plan and "an assumption" in plan
    assert "never timed: linear_probe (1 runs), robustness (1 runs)" in plan
    assert cost.plan_table([], at_once=1).endswith("missing: about 0 minutes, 1 runs at a time")


@pytest.mark.parametrize("nonsense", [-86_389.0, "long", None])
def test_times_that_cannot_be_foretell_nothing(here: Setting, nonsense: object) -> None:
    """Earlier versions went by a clock that may be set back while a run trains."""
    took(here, "can/vit_l/800", seconds=nonsense, probe=nonsense)  # type: ignore[arg-type]
    config = here.run(spec("can/vit_l/800"), 1).config
    speeds = measured_speed.Speeds(here, lambda config: 1e9)
    assert speeds.training(config) is None and speeds.evaluation("linear_probe", config) is None
