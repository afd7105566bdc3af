"""What a plan costs: operations of the runs, and the time that earlier ones took."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from invented import add, setting, spec

from can.commands.setting import Setting
from can.commands.spec import Need, Spec
from can.config import RunConfig
from can.runs.provenance import cpu_model
from can.system.files import read_json, write_json
from experiments.harness import cost, measured_speed, measured_step
from experiments.harness.measured_speed import Device
from experiments.harness.measured_step import Measured
from experiments.harness.plan import planned


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path, "smoke")


def took(here: Setting, row: str | Spec, seconds: float, probe: float, at_once: int = 1, accelerator: str = "") -> None:
    """A finished run that says how long it took, on this machine or, beside its processor, on an accelerator."""
    cpu = {"model": cpu_model(), "count": Device.here(at_once).count}
    device = {"platform": "gpu" if accelerator else "cpu", "kind": accelerator or "cpu", "count": 1}
    on = {"device": device, "cpu": cpu, "peak_memory_mb": 900}
    folder = add(here, row, top1=50.0)
    made = folder.results / "provenance.json"
    steps = folder.config.optim.last_step
    write_json(made, read_json(made) | on | {"wall_time_s": seconds, "steps": steps})
    evaluated = read_json(folder.eval_path("linear_probe"))
    evaluated["provenance"] |= on | {"wall_time_s": probe}
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
    assert "memory of a run: up to 0.9 GB (finished here)" in plan


def test_seeds_of_one_program_share_its_time(here: Setting) -> None:
    took(here, "can/vit_l/800", seconds=600.0, probe=120.0)
    config = here.run(spec("can/vit_l/800"), 1).config
    alone = measured_speed.Speeds(here, cost.pretraining_flops, Device.here(1)).training(config)
    made = here.run(spec("can/vit_l/800"), 0).folder.results / "provenance.json"
    write_json(made, read_json(made) | {"seeds_at_once": [0, 1, 2]})
    shared = measured_speed.Speeds(here, cost.pretraining_flops, Device.here(1)).training(config)
    assert alone and shared and shared.value == pytest.approx(3 * alone.value)


def test_runs_side_by_side_share_the_time(here: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPROC", "2")
    took(here, "can/vit_l/800", seconds=6000.0, probe=120.0, at_once=2)  # on one core
    tasks = planned([Need(spec("can/vit_l/800")), Need(spec("can/vit_l/1600"))], here, seeds=[1])
    steps = [task.run.config.optim.last_step for task in tasks]
    expected = (6000 * (1 + steps[1] / steps[0]) + 240) / 2
    assert f"missing: about {expected / 60:.0f} minutes, 2 runs at a time" in cost.plan_table(tasks, at_once=2)
    assert "missing: a time that is not known" in cost.plan_table(tasks, at_once=1)  # with both cores for one run


def test_the_operations_of_few_runs_are_counted_and_only_where_they_are_asked_for(
    here: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting traces a program for each shape; a plan of one run does not wait for a hundred."""
    for number in range(12):
        took(here, Spec("can", "vit_b", "jft", 100).but(mask_rate=0.05 * number), seconds=60.0, probe=1.0)
    took(here, "mae/vit_b/100", seconds=60.0, probe=1.0)
    counted = []
    monkeypatch.setattr(cost, "_flops_per_step", lambda config: counted.append(config) or 10**9)
    speeds = measured_speed.Speeds(here, cost.pretraining_flops, Device.here(1))
    assert counted == []
    found = speeds.training(here.run(spec("can/vit_b/800"), 0).config)
    steps = here.run(spec("mae/vit_b/100"), 0).config.optim.last_step
    assert found == (steps * 10**9 / 60, measured_speed.HERE)
    assert {config.method.name for config in counted} == {"can"} and len(counted) <= measured_speed.ENOUGH


def test_what_was_timed_on_another_kind_of_device_tells_nothing(here: Setting) -> None:
    """As an H200's minutes of `overnight` told two cores of a CPU that it takes them, too."""
    took(here, "can/vit_b/800", seconds=60.0, probe=3.0, accelerator="NVIDIA H200")
    needs = [Need(spec("can/vit_b/800"), ("linear_probe", "robustness"))]
    plan = cost.plan_table(planned(needs, here, seeds=[1]), at_once=1)
    assert "missing: a time that is not known, 1 runs at a time" in plan and re.search(r"\d +\?  \w", plan)
    never = "pre-training (1 runs), linear_probe (1 runs), robustness (1 runs); --measure times a training step"
    assert f"not known, since never timed on {Device.here(1)}: {never}" in plan
    assert "memory of a run: not known" in plan


def test_what_is_done_costs_nothing(here: Setting) -> None:
    assert cost.plan_table([], at_once=1).endswith("missing: about 0 minutes, 1 runs at a time")


@pytest.mark.parametrize("nonsense", [-86_389.0, "long", None])
def test_times_that_cannot_be_foretell_nothing(here: Setting, nonsense: object) -> None:
    """Earlier versions went by a clock that may be set back while a run trains."""
    took(here, "can/vit_l/800", seconds=nonsense, probe=nonsense)  # type: ignore[arg-type]
    config = here.run(spec("can/vit_l/800"), 1).config
    speeds = measured_speed.Speeds(here, lambda config: 1e9, Device.here(1))
    assert speeds.training(config) is None and speeds.evaluation("linear_probe", config) is None


def test_a_step_that_is_measured_here_tells_the_time_of_what_was_never_run(
    here: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(config: RunConfig, flops: float) -> Measured:
        asked.append((config.method.name, config.model.size))
        return Measured(flops_per_second=1e9, megabytes=700.0)

    monkeypatch.setattr(cost, "measure", measured)
    tasks = planned([Need(spec("mae/vit_b/800"), ()), Need(spec("mae/vit_l/800"), ())], here, seeds=[0])
    plan = cost.plan_table(tasks, at_once=2, measured=True)
    seconds = [cost.pretraining_flops(task.run.config) / 1e9 for task in tasks]
    assert asked == [("mae", "micro")]  # the costliest run, once
    assert f"missing: about {sum(seconds) / 60:.0f} minutes, 2 runs at a time" in plan
    assert minutes(plan, "mae-vitb-jft-e800-s0") == pytest.approx(seconds[0] * 2 / 60, abs=0.06)
    assert "pre-training: a step measured here, 2 runs" in plan and "up to 0.7 GB (a step measured here)" in plan


def test_of_a_batch_that_would_take_minutes_a_part_is_measured(here: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    class Step:
        memory = 2**30

        def __init__(self, config: RunConfig, *, anew: bool) -> None:
            batches.append(config.optim.batch_size)

        def whole(self) -> None:
            """Takes no time worth the name."""

    monkeypatch.setattr(measured_step, "TrainingStep", Step)
    config = here.run(spec("simclr/vit_b/800"), 0).config
    assert measured_step.measure(config, flops_per_step=1e11).megabytes is not None
    assert measured_step.measure(config, flops_per_step=1e12).megabytes is None
    assert batches == [32, 4]


def test_runs_that_weigh_their_losses_otherwise_have_the_operations_of_one_shape(here: Setting) -> None:
    """Figure 8 has twenty of them, each of which takes a second to trace."""
    base = Spec("can", "vit_b", "jft", 100)

    def shape(**overrides: Any) -> RunConfig:
        return cost._shape_of(here.run(base.but(**overrides), 0).config)

    assert shape(lambda_infonce=0.1) == shape(lambda_infonce=0.9) == shape(sigma_max=0.2, lambda_reconstruct=0.4)
    assert shape(mask_rate=0.25) != shape(mask_rate=0.75) and shape(sigma_max=0.0) != shape(sigma_max=0.2)
    weighed = here.run(base.but(lambda_infonce=0.1, sigma_max=0.2), 0).config
    shared = cost._shape_of(weighed)
    own = dataclasses.replace(shared, method=weighed.method)
    assert own != shared and cost._flops_per_step(own) == cost._flops_per_step(shared)
