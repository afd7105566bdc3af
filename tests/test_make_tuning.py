"""What the laptop scale was chosen by: the page of the trials, and that the scale has what they chose."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invented import COMMIT

from analysis import make_tuning, publish
from analysis.make_tuning import by_config, choices, sentence, table, trials
from can.commands.evaluations import EVALS
from can.commands.evaluations.finetune import Finetune
from can.commands.scales import SCALES
from can.commands.setting import PUBLISHED, Setting
from can.commands.spec import Spec, resolve
from can.errors import DataError
from can.runs import Evaluated, RunDir
from can.system.files import write_json
from experiments import table2_jft, table3_in1k, tune_laptop
from experiments.tune_laptop import HELD_OUT, SCALE, STAGES, Stage

LAPTOP = Setting(SCALES[SCALE])
RATES = STAGES["learning_rate"]
NUMBERS = itertools.count()
PROTOCOL = {"name": "linear_probe", "test": f"cifar10 {HELD_OUT['test_split']}"}


def of_method(stage: Stage, choice: str, method: str) -> Spec:
    return next(need.spec for need in stage.trials[choice] if need.spec.method == method)


def add(folder: Path, spec: Spec, seed: int, top1: float, git: Any = COMMIT, **protocol: Any) -> RunDir:
    """A finished trial under a name that says nothing."""
    run = RunDir(folder, folder / "work", SCALE, f"trial{next(NUMBERS)}")
    run.claim(resolve(LAPTOP.scale, spec, seed))
    (run.results / "train.csv").write_text("step,loss\n1,2.5\n")
    write_json(run.results / "provenance.json", {"git": git, "weights": "w"})
    record = dict(metric="top1", value=top1 / 100, n=10_000, seed=seed)
    Evaluated(PROTOCOL | protocol, {}, {"git": git}, [record]).write(run.eval_path("linear_probe"))
    return run


def shown(stage: Stage, folder: Path) -> list[list[str]]:
    return table(stage, trials(stage, by_config(folder / SCALE), LAPTOP)).fillna("–").to_numpy().tolist()


def test_each_method_gets_the_rate_of_the_highest_mean_over_its_seeds(tmp_path: Path) -> None:
    for rate, can, simclr in (("0.003", 50.0, 40.04), ("0.006", 49.0, 40.0)):
        for seed in range(3):
            add(tmp_path, of_method(RATES, rate, "can"), seed, can + seed)
            add(tmp_path, of_method(RATES, rate, "simclr"), seed, simclr)
    assert shown(RATES, tmp_path) == [
        ["CAN", "**51.0 ± 1.0 (3)**", "50.0 ± 1.0 (3)"],
        ["SimCLR", "**40.0 ± 0.0 (3)**", "40.0 ± 0.0 (3)"],
    ]
    assert sentence(RATES, trials(RATES, by_config(tmp_path / SCALE), LAPTOP)).startswith(
        "Chosen: CAN 0.003, SimCLR 0.003. "
    )


def test_what_is_chosen_for_all_is_best_on_average_among_what_all_have_tried(tmp_path: Path) -> None:
    crops = STAGES["crop"]
    for area, scores in (("0.15", (90,)), ("0.3", (50, 40, 30)), ("0.6", (49, 42, 32))):
        for method, top1 in zip(("can", "simclr", "mae"), scores, strict=False):
            add(tmp_path, of_method(crops, area, method), 0, top1)
    assert shown(crops, tmp_path) == [
        ["CAN", "90.0 (1)", "50.0 (1)", "**49.0 (1)**"],
        ["SimCLR", "–", "40.0 (1)", "**42.0 (1)**"],
        ["MAE", "–", "30.0 (1)", "**32.0 (1)**"],
        ["mean of the methods", "–", "40.0", "**41.0**"],
    ]


def test_trials_that_were_judged_otherwise_are_not_compared(tmp_path: Path) -> None:
    add(tmp_path, of_method(RATES, "0.003", "can"), 0, 50)
    add(tmp_path, of_method(RATES, "0.006", "can"), 0, 60, test="cifar10 test")
    with pytest.raises(DataError, match="were not judged alike"):
        trials(RATES, by_config(tmp_path / SCALE), LAPTOP)


def test_a_trial_that_is_there_twice_is_no_second_seed(tmp_path: Path) -> None:
    """Trials may have any name, so that the name of a copy tells nothing."""
    kept = add(tmp_path, of_method(RATES, "0.003", "can"), 0, 50)
    shutil.copytree(kept.results, kept.results.with_name("copied-s1"))
    assert list(trials(RATES, by_config(tmp_path / SCALE), LAPTOP)["seed"]) == [0]


def test_a_trial_without_its_number_is_one_line(tmp_path: Path) -> None:
    run = add(tmp_path, of_method(RATES, "0.003", "can"), 0, 50)
    path = run.eval_path("linear_probe")
    path.write_text(path.read_text().replace('"top1"', '"top5"'))
    with pytest.raises(DataError, match="eval-linear_probe.json is damaged .it has no top1"):
        trials(RATES, by_config(tmp_path / SCALE), LAPTOP)


def test_trials_are_published_whatever_they_are_called_and_those_of_no_stage_are_not(tmp_path: Path) -> None:
    own, there = tmp_path / "own", tmp_path / "published" / SCALE
    kept = add(own, of_method(RATES, "0.003", "can"), 0, 50)
    add(own, Spec("can", "vit_b", "jft", 3000), 0, 50)
    assert publish.publish_trials(own / SCALE, there) == "published 1 trials"
    assert sorted(path.name for path in there.glob("*/*")) == [
        "config.json",
        "eval-linear_probe.json",
        "provenance.json",
        "train.csv",
    ]
    shutil.rmtree(kept.results)
    add(own, of_method(RATES, "0.003", "can"), 1, 50, git={"commit": "c0ffee", "dirty": True})
    with pytest.raises(DataError, match="was not made by a clean commit"):
        publish.publish_trials(own / SCALE, there)
    assert len(list(there.iterdir())) == 1


def test_a_stage_is_made_and_shown_by_its_command(run_python, tmp_path: Path) -> None:
    script = Path(tune_laptop.__file__)
    folders = [f"--{name}={tmp_path / name}" for name in ("results_dir", "workdir", "published_dir")]
    planned = run_python(script, "--stages=crop_at_64", "--seeds=0", "--dry_run", *folders)
    assert planned.stdout.count("can/micro/800/") == 2 and "missing: " in planned.stdout
    shown_after_each = make_tuning.render(dataclasses.replace(LAPTOP, results_dir=tmp_path), brief=True)
    assert shown_after_each == "# What the scale `laptop` was chosen by"
    page = run_python(Path(make_tuning.__file__), f"--results_dir={tmp_path / 'none'}").stdout
    assert "Chosen: CAN 0.003, SimCLR 0.003, MAE 0.006." in page  # of the published trials
    refused = run_python(script, "--stages=crops", check=False)
    assert refused.returncode == 1 and refused.stderr.startswith("error: unknown stage 'crops'; did you mean 'crop'?")


ASKED_AGAIN = ("crop_at_64", "rate_range")  # later stages answered their questions


def chosen_fields(stage: Stage) -> Iterator[tuple[Spec, str]]:
    """Of the published trials: what was chosen for a method, and each field of it that the stage varied."""
    found = trials(stage, by_config(PUBLISHED / "tuning" / SCALE), LAPTOP)
    for choice in choices(stage, found):
        for spec in (need.spec for need in stage.trials[choice.best]):
            if choice.method in (spec.method, make_tuning.MEAN) and spec.method in set(found["method"]):
                tried = [of_method(stage, name, spec.method) for name in stage.trials]
                for field in {field for other in tried for field, _ in set(other.overrides) ^ set(spec.overrides)}:
                    if field != "total_steps":  # follows from the others
                        yield spec, field


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a configuration's groups, by their names."""
    return {name: value for group in values.values() if isinstance(group, dict) for name, value in group.items()}


FINETUNED = ("finetuning", "from_scratch")


@pytest.mark.parametrize("name", [name for name in STAGES if name not in (*ASKED_AGAIN, *FINETUNED)])
def test_the_scale_has_what_its_trials_chose(name: str) -> None:
    cited = ("cited_rates", *tune_laptop.TRIED)
    if name in cited and trials(STAGES[name], by_config(PUBLISHED / "tuning" / SCALE), LAPTOP).empty:
        pytest.skip("not tried yet")
    chosen = list(chosen_fields(STAGES[name]))
    assert chosen
    for spec, field in chosen:
        has = resolve(LAPTOP.scale, dataclasses.replace(spec, overrides=()), 0).to_dict()
        assert flat(has)[field] == dict(spec.overrides)[field], (spec, field)


@pytest.mark.parametrize("name", FINETUNED)
def test_finetuning_is_as_its_trials_chose(name: str) -> None:
    stage = STAGES[name]
    found = trials(stage, by_config(PUBLISHED / "tuning" / SCALE), LAPTOP)
    (chosen,) = choices(stage, found)
    for need in stage.trials[chosen.best]:
        tried = EVALS[need.evals[0]]
        assert isinstance(tried, Finetune)
        recipe = LAPTOP.scale.recipe(tried.recipe, "nano")
        has = dataclasses.asdict(dataclasses.replace(LAPTOP.scale.finetune, **recipe))
        assert {field: has[field] for field in tried.changes} == tried.changes


def test_trials_of_finetuning_are_told_apart_by_their_evaluations_of_one_run(tmp_path: Path) -> None:
    stage = STAGES["from_scratch"]
    (spec,) = (need.spec for need in stage.trials["0.003"])
    run = add(tmp_path, spec, 0, 10)
    for choice, top1 in (("0.003", 0.5), ("0.01", 0.6), ("0.01, mixup 0.8", 0.4)):
        (judge,) = stage.trials[choice][0].evals
        protocol = PROTOCOL | {"name": judge} | dict(EVALS[judge].changes, epochs=2)
        Evaluated(protocol, {}, {"git": COMMIT}, [dict(metric="top1", value=top1, n=10_000, seed=0)]).write(
            run.eval_path(judge)
        )
    assert shown(stage, tmp_path) == [["untrained", "50.0 (1)", "**60.0 (1)**", "40.0 (1)"]]


def test_every_cited_method_has_six_trials_what_it_was_before_them_among_both_kinds() -> None:
    """Four rates and three values of one setting, of which one run is of both."""
    rates = [need.spec for need in STAGES["cited_rates"].needs]
    settings = [need.spec for name in tune_laptop.TRIED for need in STAGES[name].needs]
    assert set(tune_laptop.BEFORE) == {
        spec.method for spec in (*table2_jft.CITED, *table3_in1k.CITED, *table3_in1k.EXTENDED)
    }
    for method in tune_laptop.BEFORE:
        of_rates, of_settings = ({spec for spec in kind if spec.method == method} for kind in (rates, settings))
        assert (len(of_rates), len(of_settings), len(of_rates & of_settings)) == (4, 3, 1), method
        (before,) = of_rates & of_settings
        assert dict(tune_laptop.BEFORE[method]).items() <= dict(before.overrides).items()
