"""An evaluation's file says what its numbers depend on, and is read only if that is what is asked for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import Commands
from PIL import Image

from can import train
from can.commands import run_one
from can.commands.done import look
from can.commands.evaluations import EVALS
from can.commands.evaluations.records import records_of
from can.commands.scales import SCALES
from can.commands.setting import Run, Setting
from can.commands.spec import Spec
from can.data import load
from can.errors import ConfigError, DataError
from can.runs import EvalRecord, Evaluated, RunDir, correct_of, pack_correct, unpack_correct
from can.runs.evaluation import check_records
from can.system.files import read_json, write_json

RECORD: EvalRecord = {"metric": "top1", "value": 0.8125, "n": 16, "seed": 0}
EVALUATED = Evaluated({"name": "linear_probe", "max_steps": 0}, {"weights": "w"}, {"git": None}, [RECORD])
UNTRAINED = Spec("random", "vit_b", "jft", 0)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    smoke = SCALES["smoke"]
    return Setting(smoke, results_dir=tmp_path / "results", workdir=tmp_path / "checkpoints", data_dir=tmp_path)


def finish(run: Run, weights: str = "w") -> None:
    """Writes what a pre-training leaves."""
    run.folder.claim(run.config)
    (run.folder.results / "train.csv").touch()
    write_json(run.folder.results / "provenance.json", {"weights": weights})
    (run.folder.checkpoints / str(run.config.optim.last_step)).mkdir(parents=True, exist_ok=True)


def test_an_evaluation_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "eval-linear_probe.json"
    EVALUATED.write(path)
    assert Evaluated.read(path) == EVALUATED
    assert set(json.loads(path.read_text())) == {"protocol", "fingerprints", "provenance", "records"}


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"value": float("nan")},
        {"value": "81"},
        {"n": 0},
        {"n": 1.5},
        {"seed": None},
        {"metric": ""},
    ],
)
def test_a_malformed_evaluation_is_neither_written_nor_read(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "eval-linear_probe.json"
    malformed = dataclasses.replace(EVALUATED, records=[RECORD | change])
    with pytest.raises(ValueError, match=next(iter(change)) if "extra" not in change else "must have the keys"):
        malformed.write(path)
    assert not path.exists()
    path.write_text(json.dumps(dataclasses.asdict(malformed)))
    with pytest.raises(DataError, match="is damaged"):
        Evaluated.read(path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"protocol": {}, "records": []}', "half a fi"])
def test_a_file_of_another_form_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "eval-linear_probe.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is damaged"):
        Evaluated.read(path)


def test_a_missing_evaluation_says_so(tmp_path: Path) -> None:
    run = RunDir(tmp_path, tmp_path, "laptop", "can-vitb-in1k-e100-s0")
    with pytest.raises(DataError, match="evaluate can-vitb-in1k-e100-s0 with finetune first"):
        run.read_eval("finetune")


def test_which_images_were_right_survives_the_file() -> None:
    correct = np.random.default_rng(0).random(1001) < 0.7
    np.testing.assert_array_equal(unpack_correct(pack_correct(correct), 1001), correct)
    assert len(pack_correct(correct)) < 1001 / 5


def test_images_that_are_judged_several_times_are_read_as_how_often_they_were_right(tmp_path: Path) -> None:
    correct = np.random.default_rng(0).random((3, 101)) < 0.7
    found = {"n": 101, "5shot": float(correct.mean()), "5shot_sd": 0.1, "correct": {"5shot": correct}}
    run = Setting(SCALES["smoke"], results_dir=tmp_path).run(UNTRAINED, 0)
    path = tmp_path / "eval-few_shot.json"
    Evaluated({}, {}, {}, records_of(found, run, prefix="birds/")).write(path)
    shares, deviation = Evaluated.read(path).records
    assert shares["metric"] == "birds/5shot" and shares["choices"] == 3
    read = correct_of(shares)
    assert read is not None
    np.testing.assert_allclose(read, correct.mean(0))
    assert correct_of(deviation) is None and correct_of(RECORD) is None  # as files have it that came before
    once = EvalRecord(metric="top1", value=float(correct[0].mean()), n=101, seed=0, correct=pack_correct(correct[0]))
    np.testing.assert_array_equal(correct_of(once), correct[0])
    for damaged in (0, True, 2):
        with pytest.raises(ValueError, match="choices must count|images"):
            check_records([shares | {"choices": damaged}])


def test_a_record_says_how_many_classes_have_fewer_images_than_shots(tmp_path: Path) -> None:
    found = {"n": 9, "5shot": 1.0, "5shot_sd": 0.1, "1shot": 0.5, "correct": {}, "short_classes": {"5shot": 2}}
    run = Setting(SCALES["smoke"], results_dir=tmp_path).run(UNTRAINED, 0)
    path = tmp_path / "eval-few_shot.json"
    Evaluated({}, {}, {}, records_of(found, run, prefix="birds/")).write(path)
    records = Evaluated.read(path).records
    assert {record["metric"]: record.get("short_classes") for record in records} == {
        "birds/5shot": 2,
        "birds/5shot_sd": None,
        "birds/1shot": None,
    }
    for damaged in (0, True, "2"):
        with pytest.raises(ValueError, match="short_classes must count classes"):
            check_records([records[0] | {"short_classes": damaged}])


# What flags change an evaluation, and the line that shows it.
CHANGED = [
    ("linear_probe", "--probe_max_steps=2", "max_steps: 0 (on disk) != 2 (asked)"),
    ("linear_probe", "--probe_base_lr=3", "base_lr: 0.1 (on disk) != 3.0 (asked)"),
    ("linear_probe", "--labelled=fashion_mnist", "test: smoke test (on disk) != fashion_mnist test (asked)"),
    ("linear_probe", "--train_split=train[:99]", "train: smoke train (on disk) != smoke train[:99] (asked)"),
    ("linear_probe", "--test_split=train", "test: smoke test (on disk) != smoke train (asked)"),
    ("finetune", "--finetune_epochs=3", "epochs: 2 (on disk) != 3.0 (asked)"),
    ("finetune", "--labelled=fashion_mnist", "train: smoke train (on disk) != fashion_mnist train (asked)"),
    ("finetune_scratch", "--finetune_mixup=0.2", "mixup: 0.8 (on disk) != 0.2 (asked)"),
    ("few_shot", "--few_shot_shots=1", "shots: [1, 5] (on disk) != [1] (asked)"),
    ("few_shot_sgd", "--few_shot_steps=5", "steps: 2500 (on disk) != 5 (asked)"),
    ("robustness", "--finetune_epochs=3", "finetune.epochs: 2 (on disk) != 3.0 (asked)"),
    ("robustness", "--train_split=train[:99]", "finetune.train: smoke train (on disk) != smoke train[:99] (asked)"),
    ("robustness", "--labelled=cifar10", "sets.cifar10_v2: nothing (on disk) != "),
]


@pytest.mark.parametrize(("name", "flag", "line"), CHANGED)
def test_a_second_start_under_other_flags_refuses_and_shows_the_difference(
    commands: Commands, setting: Setting, name: str, flag: str, line: str
) -> None:
    run = setting.run(UNTRAINED, 0)
    finish(run)
    protocol = EVALS[name].protocol(setting, run)
    Evaluated(protocol, {"weights": "w"}, {}, [RECORD]).write(run.folder.eval_path(name))
    written = run.folder.eval_path(name).read_bytes()
    done = commands("experiments/evaluate.py", f"--eval={name}", *flags_of(setting), flag)
    assert done.returncode == 1
    assert line in done.stderr
    assert f"--force={name}" in done.stderr
    assert run.folder.eval_path(name).read_bytes() == written


def flags_of(setting: Setting) -> list[str]:
    """What names the untrained run of `setting`."""
    folders = {"results_dir": setting.results_dir, "workdir": setting.workdir, "data_dir": setting.data_dir}
    named = [f"--{name}={folder}" for name, folder in folders.items()]
    return ["--scale=smoke", "--method=random", "--data=jft", "--epochs=0", *named]


def test_robustness_states_its_optional_sets(setting: Setting) -> None:
    run = setting.run(UNTRAINED, 0)
    scale = dataclasses.replace(setting.scale, data=setting.scale.data | {"in1k": "imagenet2012"})
    plain = dataclasses.replace(setting, scale=scale)
    more = dataclasses.replace(plain, objectnet="/somewhere/objectnet", imagenet_c=True)
    before, after = (EVALS["robustness"].protocol(each, run)["sets"] for each in (plain, more))
    assert set(after) - set(before) == {"objectnet", "imagenet2012_corrupted"}

    on_cifar10 = dataclasses.replace(setting, scale=dataclasses.replace(scale, data=scale.data | {"in1k": "cifar10"}))
    real = dataclasses.replace(on_cifar10, real_shifts=("cifar10_1", "cifar10h"))
    before, after = (EVALS["robustness"].protocol(each, run)["sets"] for each in (on_cifar10, real))
    assert set(after) - set(before) == {"cifar10_1", "cifar10h"}


class Toy:
    """An evaluation that counts how often it is made."""

    def __init__(self, name: str) -> None:
        self.name, self.images_are, self.steps, self.made = name, "these", 10, 0

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        return {"name": self.name, "steps": self.steps}

    def images(self, setting: Setting) -> dict[str, Any]:
        return {"toys test": SimpleNamespace(fingerprint=self.images_are)}

    def measure(self, setting: Setting, run: Run, images: Any) -> list[EvalRecord]:
        self.made += 1
        return [RECORD]


class Bench(SimpleNamespace):
    """A run whose training takes no time and ends with `weights`, and two evaluations, `one` and `other`."""

    setting: Setting
    run: Run
    one: Toy
    other: Toy
    weights: str
    trained: int

    def complete(self, *evals: str, force: tuple[str, ...] = ()) -> None:
        run_one.complete(dataclasses.replace(self.setting, force=force), self.run, evals)

    @property
    def made(self) -> tuple[int, int, int]:
        """How often it was trained, and evaluated by either."""
        return self.trained, self.one.made, self.other.made


@pytest.fixture
def bench(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    run = setting.run(UNTRAINED, 0)
    bench = Bench(setting=setting, run=run, one=Toy("one"), other=Toy("other"), weights="w", trained=0)

    def pretrain(*_: Any, **__: Any) -> None:
        bench.trained += 1
        finish(run, bench.weights)

    monkeypatch.setattr(train, "pretrain_seeds", pretrain)
    for toy in (bench.one, bench.other):
        monkeypatch.setitem(EVALS, toy.name, toy)
    yield bench


def test_what_is_done_is_not_done_again(bench: Bench) -> None:
    for _ in range(2):
        bench.complete("one", "other")
    assert bench.made == (1, 1, 1)
    assert look(bench.setting, bench.run, ["one", "other"]).stage == "evaluated"


def test_a_look_tells_what_is_absent_begun_trained_and_evaluated(bench: Bench) -> None:
    def stage(*evals: str) -> str:
        return look(bench.setting, bench.run, evals).stage

    assert stage("one") == "absent"
    bench.run.folder.claim(bench.run.config)
    assert stage("one") == "begun"
    bench.complete("one")
    assert stage("one") == stage() == "evaluated"
    done = look(bench.setting, bench.run, ["one", "other"])
    assert (done.stage, done.missing, done.to_forget, done.reason_to_train) == ("trained", ("other",), (), None)
    forced = look(dataclasses.replace(bench.setting, force=("train", "one")), bench.run, ["one"])
    assert forced.stage == "trained" and forced.missing == forced.to_forget == ("one",)
    assert "anew" in (forced.reason_to_train or "")


def test_forcing_an_evaluation_redoes_that_one_alone(bench: Bench) -> None:
    bench.complete("one", "other")
    bench.one.steps = 20
    bench.complete("one", "other", force=("one",))
    assert bench.made == (1, 2, 1)
    assert bench.run.folder.read_eval("one").protocol["steps"] == 20


def test_forcing_the_evaluations_redoes_no_training(bench: Bench) -> None:
    bench.complete("one", "other")
    bench.complete("one", "other", force=("evals",))
    assert bench.made == (1, 2, 2)


def test_forcing_the_training_keeps_evaluations_of_the_same_weights(bench: Bench) -> None:
    bench.complete("one", "other")
    bench.complete("one", force=("train",))
    assert bench.made == (2, 1, 1)
    bench.complete("other")
    assert bench.made == (2, 1, 1)


def test_forcing_the_training_redoes_evaluations_of_other_weights(bench: Bench) -> None:
    bench.complete("one", "other")
    bench.weights = "others"
    bench.complete("one", force=("train",))
    assert bench.made == (2, 2, 1)
    assert bench.run.folder.read_eval("one").fingerprints["weights"] == "others"
    with pytest.raises(ConfigError, match=r"weights: w \(on disk\) != others \(asked\)(.|\n)*--force=other"):
        bench.complete("other")


def test_weights_that_are_lost_are_trained_again_and_old_evaluations_are_not_mixed_with_theirs(bench: Bench) -> None:
    """Another number of cores ends with other weights."""
    bench.complete("one")
    bench.run.folder.work.rename(bench.run.folder.work.with_name("lost"))
    bench.complete("one")  # needs no weights
    assert bench.made == (1, 1, 0)
    bench.weights = "others"
    bench.complete("one", "other")
    assert bench.made == (2, 2, 1)
    assert bench.run.folder.read_eval("one").fingerprints == bench.run.folder.read_eval("other").fingerprints


def changed_protocol(bench: Bench) -> str:
    bench.one.steps = 2
    return r"steps: 10 \(on disk\) != 2 \(asked\)"


def other_images(bench: Bench) -> str:
    bench.one.images_are = "those"
    return r"toys test: these \(on disk\) != those \(asked\)"


def other_weights(bench: Bench) -> str:
    path = bench.run.folder.results / "provenance.json"
    write_json(path, read_json(path) | {"weights": "others"})
    return r"weights: w \(on disk\) != others \(asked\)"


@pytest.mark.parametrize("change", [changed_protocol, other_images, other_weights])
def test_another_protocol_other_images_or_weights_refuse_before_anything_is_made(
    bench: Bench, change: Callable[[Bench], str]
) -> None:
    bench.complete("one")
    shown = change(bench)
    for ask in (run_one.complete, look, run_one.evaluate):
        with pytest.raises(ConfigError, match=shown):
            ask(bench.setting, bench.run, ["other", "one"])
    assert bench.trained == bench.one.made == 1


def test_few_shot_is_of_the_labelled_images_that_flags_name(setting: Setting, tmp_path: Path) -> None:
    """`--labelled=folder:P` evaluated the scale's own sets, and said nothing; so did `--train_split`."""
    usual = EVALS["few_shot"].protocol(setting, setting.run(UNTRAINED, 0))
    assert usual["sets"] == ["smoke train test"]
    halves = dataclasses.replace(setting, train_split="train[:128]")
    assert [*EVALS["few_shot"].images(halves)] == ["smoke train[:128]", "smoke test"]
    assert len(EVALS["few_shot"].images(halves)["smoke train[:128]"]) == 128
    for name in ("train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/0.png"):
        (tmp_path / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), f"#0000{len(name)}{ord(name[-7])}").save(tmp_path / "P" / name)
    scale = dataclasses.replace(setting.scale, data=setting.scale.data | {"in1k": f"folder:{tmp_path / 'P'}"})
    recast = dataclasses.replace(setting, scale=scale)
    for evaluation in ("few_shot", "few_shot_mean_rank", "few_shot_sgd"):
        (train_name, train_images), (_, test_images) = EVALS[evaluation].images(recast).items()
        assert train_name.startswith("folder:P (") and str(tmp_path) not in train_name
        assert train_images.fingerprint == load(f"folder:{tmp_path / 'P'}", "train", data_dir=tmp_path).fingerprint
        assert len(test_images) == 2
        assert EVALS[evaluation].protocol(recast, recast.run(UNTRAINED, 0))["sets"] != usual["sets"]
