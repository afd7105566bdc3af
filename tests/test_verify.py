"""How many of a reader's numbers agree with the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from invented import add, cells, published, setting

from analysis import verify
from can.commands.setting import Setting

ROW = "can/vit_l/800"


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def test_numbers_are_counted_as_equal_within_outside_and_unknown(here: Setting) -> None:
    # Published of one row: mean 81, standard deviation 1, 2 degrees of freedom, t = 4.303.
    # One more run is within 4.303 × √(1 + 1/3) = 4.97 of the mean: from 76.03 to 85.97.
    for seed, top1 in enumerate((80, 81, 82)):
        add(published(here), ROW, seed, top1=top1)
    for seed, top1 in enumerate((80, 81.5, 85.9, 76.1, 86, 76)):
        add(here, ROW, seed, top1=top1)
    add(here, "can/vit_b/800", 0, top1=81)  # nothing is published of it
    add(here, "can/vit_b/800", 0, "few_shot", metrics={"digits/1shot": 0.5})  # nor of this evaluation
    text = verify.render(here)
    assert "Of your 8 numbers: 1 equal, 3 within, 2 outside, 2 unknown." in text
    assert cells(text, "linear_probe") == ["linear_probe", "1", "3", "2", "1"]
    assert cells(text, "few_shot") == ["few_shot", "0", "0", "0", "1"]
    assert text.splitlines()[0] == "# Your results against the published ones, scale `laptop`"


def test_what_changed_sources_or_several_commits_made_is_said_and_on_what(here: Setting) -> None:
    add(published(here), ROW, 0, top1=80)
    add(here, ROW, 0, top1=80)
    assert "was made by" not in verify.render(here)
    add(here, ROW, 1, top1=80, git={"commit": "facade", "dirty": True})
    text = verify.render(here)
    made = (
        "- {} of yours runs was made by commit `c0ffee` (1 runs), commit `facade` with changed sources (1 runs); within"
    )
    assert made.format("linear_probe") in text and made.format("pre-training") in text


def test_what_is_outside_is_listed_with_the_interval(here: Setting) -> None:
    for seed, top1 in enumerate((80, 81, 82)):
        add(published(here), ROW, seed, top1=top1)
    add(here, ROW, 7, top1=86)
    listed = verify.render(here).partition("## Outside")[2]
    assert cells(listed, "can/vit_l/800 (jft)")[1:] == ["7", "linear_probe", "top1", "0.8600", "0.7603", "0.8597"]
    add(here, ROW, 7, top1=85)
    assert "## Outside" not in verify.render(here)


def test_each_metric_has_its_own_deviation(here: Setting) -> None:
    for seed in range(2):
        add(published(here), ROW, seed, top1=80, metrics={"loss": 2.0 + seed})
    add(here, ROW, 5, top1=80.01, metrics={"loss": 2.6})
    text = verify.render(here)
    assert "Of your 2 numbers: 0 equal, 1 within, 1 outside, 0 unknown." in text
    assert cells(text, "can/vit_l/800 (jft)")[3] == "top1"


def test_a_single_published_seed_can_only_be_equalled(here: Setting) -> None:
    add(published(here), ROW, 0, top1=80)
    add(here, ROW, 0, top1=80)
    add(here, ROW, 1, top1=80)
    text = verify.render(here)
    assert "Of your 2 numbers: 1 equal, 0 within, 0 outside, 1 unknown." in text
    assert "unknown: nothing is published of this row, or no published row has two seeds." in text


def test_without_own_results_it_says_how_to_make_some(here: Setting) -> None:
    add(published(here), ROW, 0, top1=80)
    text = verify.render(here)
    assert "There are no results of yours here: make some with `bash experiments/table2_jft.sh --scale=laptop" in text
    assert "numbers" not in text


def test_without_published_results_it_says_so(here: Setting) -> None:
    add(here, ROW, 0, top1=80)
    text = verify.render(here)
    assert "There are no published results to compare them with." in text
    assert "0 equal, 0 within, 0 outside, 1 unknown." in text


def test_own_results_by_other_settings_are_no_results_but_are_said(here: Setting) -> None:
    add(published(here), ROW, 0, top1=80)
    add(here, ROW, 0, top1=80, protocol={"base_lr": 0.1})
    text = verify.render(here)
    assert "There are no results of yours here" in text
    assert "- linear_probe of yours can-vitl-jft-e800-s0 was made with other settings:\n  - base_lr: 0.1" in text


def test_other_images_under_the_same_name_are_said(here: Setting) -> None:
    add(published(here), ROW, 0, top1=80)
    add(here, ROW, 0, top1=80, fingerprints={"images test": "another"})
    assert "- The images of `images test` are not the same for all runs:" in verify.render(here)


def test_the_command_prints_it(here: Setting, run_python) -> None:
    add(here, ROW, 0, top1=80)
    flags = [f"--results_dir={here.results_dir}", f"--published_dir={here.published_dir}"]
    assert run_python(Path(verify.__file__), *flags).stdout == verify.render(here)
