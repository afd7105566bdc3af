"""What tables read: the published and the reader's results of the specs that are asked for, and nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from invented import add, published, setting, spec

from analysis.lib import captions
from analysis.lib.results import PUBLISHED, YOURS, Results, read
from can.commands.evaluations.protocols import augmentation
from can.commands.scales import SCALES
from can.commands.setting import PUBLISHED as PUBLISHED_RESULTS
from can.commands.setting import Setting
from can.commands.spec import Need
from can.config import AugmentConfig
from can.errors import ConfigError, DataError
from can.runs import Evaluated
from can.system.files import read_json, write_json

ROW = "can/vit_l/800"
NEEDS = (Need(spec(ROW)),)


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def numbers(found: Results) -> list[tuple[str, int, float]]:
    records = found.records[found.records["metric"] == "top1"]
    return list(zip(records["source"], records["seed"], records["value"], strict=True))


def test_a_number_says_whose_it_is_of_what_run_and_of_which_images(here: Setting) -> None:
    correct = np.array([True, True, False, True])
    add(published(here), ROW, 1, n=4, top1=75, correct=correct)
    add(here, ROW, 0, n=4, top1=50)
    found = read(NEEDS, here)
    assert numbers(found) == [(YOURS, 0, 0.5), (PUBLISHED, 1, 0.75)]
    assert found.sources == [PUBLISHED, YOURS] and found.left_out == found.mixed == []
    mine, theirs = found.records.to_dict("records")
    assert (mine["row"], mine["method"], mine["model"], mine["data"], mine["epochs"]) == (
        *(spec(ROW), "can", "vit_l", "jft"),
        800,
    )
    assert (mine["images"], mine["steps"], mine["n"]) == (64_192, 2006, 4)  # 64,200 images in batches of 32
    assert mine["correct"] is None and theirs["correct"].tolist() == correct.tolist()


def test_without_any_results_there_is_no_source_and_tables_show_the_readers_empty_column(here: Setting) -> None:
    found = read(NEEDS, here)
    assert (found.records.empty, found.runs, found.sources, found.shown) == (True, [], [], [YOURS])


def test_a_run_of_another_configuration_is_left_out_with_each_field_that_differs(here: Setting) -> None:
    add(here, ROW, 0, top1=80)
    for seed in (1, 2, 3):
        add(here, ROW, seed, top1=90, config={"base_lr": 0.5})
    found = read(NEEDS, here)
    assert numbers(found) == [(YOURS, 0, 0.8)]
    assert found.left_out == [
        "pre-training of yours can-vitl-jft-e800-s1 and 2 more was made with other settings:\n"
        "  - optim.base_lr: 0.5 (on disk) != 0.003 (asked)"
    ]


def test_what_differs_alike_is_one_item_with_the_runs_of_each_source(here: Setting) -> None:
    for seed in range(3):
        add(here, ROW, seed, top1=80, protocol={"epochs": 7})
    add(published(here), ROW, 0, top1=80, protocol={"epochs": 7})
    (item,) = read(NEEDS, here).left_out
    assert item.startswith(
        "linear_probe of yours can-vitl-jft-e800-s0 and 2 more, published can-vitl-jft-e800-s0 was made with"
    )


def test_an_evaluation_by_another_protocol_is_left_out_alone(here: Setting) -> None:
    both = (Need(spec(ROW), ("linear_probe", "few_shot")),)
    add(published(here), ROW, 0, top1=90, protocol={"epochs": 7, "test": "cats test"})
    add(published(here), ROW, 0, "few_shot", metrics={"digits/1shot": 0.3})
    found = read(both, here)
    assert list(found.records["metric"]) == ["digits/1shot"]
    assert found.left_out == [
        "linear_probe of published can-vitl-jft-e800-s0 was made with other settings:\n"
        "  - test: cats test (on disk) != cifar10 test (asked)\n"
        "  - epochs: 7 (on disk) != 40 (asked)"
    ]


def test_a_recast_setting_reads_the_runs_that_were_made_so(here: Setting) -> None:
    add(here, ROW, 0, top1=80)
    data = here.scale.data | {"jft": "fashion_mnist", "in1k": "fashion_mnist"}
    recast = dataclasses.replace(here, scale=dataclasses.replace(here.scale, data=data))
    small = dataclasses.replace(here, overrides={"batch_size": 64, "mask_rate": 0.25})
    add(recast, ROW, 0, top1=60)
    add(small, ROW, 0, top1=40)
    add(small, "random/vit_l/0", 0, top1=20)  # has no mask_rate
    needs = (*NEEDS, Need(spec("random/vit_l/0")))
    assert [numbers(read(needs, made)) for made in (here, recast, small)] == [
        [(YOURS, 0, 0.8)],
        [(YOURS, 0, 0.6)],
        [(YOURS, 0, 0.4), (YOURS, 0, 0.2)],
    ]
    with pytest.raises(ConfigError, match="no run of this table has the setting --mask_rate"):
        read((Need(spec("random/vit_l/0")),), small)


def test_a_labelled_set_that_is_recast_leaves_out_what_was_probed_on_another(here: Setting) -> None:
    add(published(here), ROW, 0, top1=80)
    scale = dataclasses.replace(here.scale, data=here.scale.data | {"in1k": "fashion_mnist"})
    found = read(NEEDS, dataclasses.replace(here, scale=scale))
    assert found.sources == []
    assert "  - train: cifar10 train (on disk) != fashion_mnist train (asked)" in found.left_out[0]


def test_pre_training_on_two_data_sets_makes_two_rows(here: Setting) -> None:
    on = [spec(ROW, data) for data in ("in1k", "jft")]
    for value, of_run in enumerate(on):
        add(here, of_run, 0, top1=value)
    found = read([Need(of_run) for of_run in on], here)
    assert dict(zip(found.records["row"], found.records["value"], strict=True)) == {on[0]: 0, on[1]: 0.01}


def test_other_overrides_unfinished_folders_and_copies_are_no_runs_of_the_row(here: Setting) -> None:
    run = add(here, ROW, 0, top1=80)
    add(here, spec(ROW).but(mask_rate=0.75), 1, top1=10)
    add(here, "can/vit_l/1600", 1, top1=10)
    (run.results.parent / "can-vitl-jft-e800-s2").mkdir()
    run.results.parent.joinpath("can-vitl-jft-e800-s0-copy").symlink_to(run.results)
    assert numbers(read(NEEDS, here)) == [(YOURS, 0, 0.8)]


def test_where_both_folders_are_one_its_results_count_once(here: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    add(published(here), ROW, 0, top1=80)
    monkeypatch.chdir(here.published_dir.parent)
    same = dataclasses.replace(here, results_dir=Path("published"))
    assert numbers(read(NEEDS, same)) == [(PUBLISHED, 0, 0.8)]


def test_runs_that_read_other_images_under_the_same_name_are_told(here: Setting) -> None:
    add(published(here), ROW, 0, top1=80)
    assert captions.warnings(read(NEEDS, here)) == []
    add(here, ROW, 0, top1=90, fingerprints={"images test": "j"})
    assert captions.warnings(read(NEEDS, here)) == [
        "The images of `images test` are not the same for all runs:\n"
        "  - j: yours can-vitl-jft-e800-s0\n  - i: published can-vitl-jft-e800-s0"
    ]


def test_an_evaluation_of_other_weights_than_the_runs_is_left_out_and_told(here: Setting) -> None:
    add(here, ROW, 0, top1=90, fingerprints={"weights": "those before a second training"})
    found = read(NEEDS, here)
    assert found.records.empty
    (line,) = found.left_out
    assert "can-vitl-jft-e800-s0" in line and "weights: others than pre-training ended with" in line


def test_a_file_of_another_seed_is_refused(here: Setting) -> None:
    path = add(here, ROW, 0, top1=80).eval_path("linear_probe")
    values = read_json(path)
    values["records"][0]["seed"] = 5
    write_json(path, values)
    with pytest.raises(DataError, match=r"can-vitl-jft-e800-s0/eval-linear_probe\.json is of seed 5"):
        read(NEEDS, here)


@pytest.mark.parametrize("name", ["eval-linear_probe.json", "config.json"])
def test_a_damaged_file_is_refused_with_its_name(here: Setting, name: str) -> None:
    add(here, ROW, 0, top1=80).results.joinpath(name).write_text('{"protocol": {')
    with pytest.raises(DataError, match=f"can-vitl-jft-e800-s0/{name} is damaged"):
        read(NEEDS, here)


def test_a_provenance_that_names_no_weights_is_an_error_with_its_file(here: Setting) -> None:
    made = add(here, "can/vit_l/800", top1=80).results / "provenance.json"
    write_json(made, read_json(made) | {"weights": None})
    with pytest.raises(DataError, match="provenance.json is damaged .it names no weights"):
        read((Need(spec("can/vit_l/800")),), here)


def test_a_run_that_cannot_be_counted_is_named(here: Setting) -> None:
    """Without a line, a row would be of two seeds where three were made, and nobody would know."""
    folders = [add(here, ROW, seed, top1=80).results for seed in range(6)]
    (folders[1] / "config.json").unlink()
    (folders[2] / "config.json").unlink()
    (folders[2] / "config.json").symlink_to("nowhere")
    shutil.rmtree(folders[3])
    folders[3].symlink_to("nowhere")
    (folders[4] / "eval-linear_probe.json").unlink()
    (folders[4] / "eval-linear_probe.json").symlink_to("nowhere")
    (folders[0].parent / "can-vitl-jft-e800-s7").mkdir()  # of a run that begins
    found = read(NEEDS, here)
    assert numbers(found) == [(YOURS, 0, 0.8), (YOURS, 5, 0.8)]
    no_config = "has no config.json, which says what it is: restore that file"
    nowhere = "is a link to nothing: mend the link, or"
    assert found.left_out == [
        f"yours can-vitl-jft-e800-s1 {no_config}",
        f"yours can-vitl-jft-e800-s2 {no_config}",
        f"yours can-vitl-jft-e800-s3 {nowhere} remove it",
        f"yours can-vitl-jft-e800-s4/eval-linear_probe.json {nowhere} evaluate again",
    ]


def test_an_evaluation_without_its_metric_is_named(here: Setting) -> None:
    add(here, ROW, 0, metrics={"top1": 0.8, "top5": 0.9})
    add(here, ROW, 1, metrics={"top5": 0.9})
    add(here, "mae/vit_l/800", 0, metrics={"top5": 0.9})  # nobody of its row has it either
    needs = (Need(spec(ROW), ("linear_probe", "few_shot")), Need(spec("mae/vit_l/800")))
    add(here, ROW, 0, "few_shot", metrics={"digits/1shot": 0.3, "digits/5shot": 0.4})
    add(here, ROW, 1, "few_shot", metrics={"digits/1shot": 0.3})
    assert read(needs, here).left_out == [
        "linear_probe of yours can-vitl-jft-e800-s1 has no top1: make it anew with --force=linear_probe",
        "few_shot of yours can-vitl-jft-e800-s1 has no digits/5shot: make it anew with --force=few_shot",
        "linear_probe of yours mae-vitl-jft-e800-s0 has no top1: make it anew with --force=linear_probe",
    ]


def test_the_weights_of_one_seed_under_the_name_of_another_count_once(here: Setting) -> None:
    """A copy whose files were all edited to another seed; of raw pixels, there are no weights to tell seeds apart."""
    pixels = "pixels/vit_l/0"
    for row in (ROW, pixels):
        for seed in (0, 1, 2):
            weights = "w0" if row == pixels or seed == 2 else f"w{seed}"
            made = add(here, row, seed, top1=80 + seed, fingerprints={"weights": weights}).results / "provenance.json"
            write_json(made, read_json(made) | {"weights": weights})
    add(published(here), ROW, 0, top1=80)  # the reader's run, made again to the bit, is no copy
    found = read((*NEEDS, Need(spec(pixels))), here)
    assert found.left_out == [
        "yours can-vitl-jft-e800-s2 has the weights of can-vitl-jft-e800-s0: it is a copy, and is not counted as a seed"
    ]
    assert numbers(found) == [(YOURS, 0, 0.8), (YOURS, 1, 0.81), (PUBLISHED, 0, 0.8)] + [
        (YOURS, seed, (80 + seed) / 100) for seed in (0, 1, 2)
    ]


@pytest.mark.parametrize("name", ["final_losses", "pictures"])
def test_a_published_evaluation_of_before_a_setting_existed_is_read_as_one_of_its_default(name: str) -> None:
    found = next(PUBLISHED_RESULTS.glob(f"laptop/*/eval-{name}.json"))
    asked = augmentation(AugmentConfig("simclr", **SCALES["laptop"].augment))
    assert Evaluated.read(found).protocol["augment"] == asked
    assert augmentation(AugmentConfig(solarize_prob=0.2))["solarize_prob"] == 0.2
