"""Table 2: the paper's rows, what is published and what the reader made beside each other, and what they say."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from invented import add, cells, contents, published, setting

from analysis import make_table2
from analysis.lib.documents import to_latex, to_markdown
from analysis.lib.orderings import RULE
from analysis.lib.paper import paper_values, printed_at
from can.commands.setting import Setting

TABLE_2 = """
MoCLR R50 5000 67.6 / BYOL R50 5000 67.9 / DnC R50 1000 67.9 / DnC R50 4500 70.7 / MoCLR R200×2 5000 74.2 /
DnC R200×2 3000 77.3 / MAE ViT-L 1600 50.5 / MAE ViT-L 5000 64.1 / SimCLR ViT-B 800 65.8 / SimCLR ViT-L 800 72.6 /
SimCLR ViT-L 1600 73.1 / SimCLR ViT-L 5000 73.4 / CAN ViT-B 800 67.1 / CAN ViT-L 800 72.8 / CAN ViT-L 1600 74.3 /
CAN ViT-L 3000 75.3 / CAN ViT-L 5000 75.4
"""
# What the numbers of the paper in each unit can be at all.
RANGES = {"%": (0.5, 100), "epochs": (1, 5000), "images": (64, 2e6), "million": (1, 1000), "hours": (1, 100)}
RANGES |= {"TPUs": (1, 1024), "data sets": (1, 20), "classes": (2, 1e5), "models": (1, 100), "views": (1, 100)}
RANGES |= {"steps": (1e3, 1e6), "pixels": (14, 1024), "times": (0.01, 10), "blocks": (1, 48), "heads": (1, 48)}
RANGES |= {"layers": (1, 48), "unit": (1, 1)}
# Of the metrics without a unit: losses, widths, and otherwise rates and shares.
LARGE = {"contrastive_loss": (1, 10), "decoder_mlp_dim": (64, 1e4), "decoder_width": (64, 1e4)}
LARGE |= {"head_width": (64, 1e4), "head_out": (64, 1e4), "finetune_rand_augment_layers": (1, 10)}
LARGE |= {"finetune_rand_augment_magnitude": (1, 30)}


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def heading(markdown: str) -> list[str]:
    return cells(markdown, "Method", "Encoder")


def test_the_values_of_table_2_are_the_papers_in_its_order() -> None:
    ours = [
        f"{value.method} {value.architecture} {value.epochs} {value.value}"
        for value in printed_at(paper_values(), "Table 2", "linear_probe_top1")
    ]
    assert ours == [row.strip() for row in TABLE_2.replace("\n", " ").split("/")]


def test_every_paper_value_has_a_place_and_is_possible_in_its_unit_and_none_is_given_twice() -> None:
    values = paper_values()
    assert [value for value in values if not (value.place and value.metric)] == []
    ranges = {value: RANGES[value.unit] if value.unit else LARGE.get(value.metric, (0, 1)) for value in values}
    assert [value for value, (low, high) in ranges.items() if not low <= value.number <= high] == []
    assert {f"Table {number}" for number in range(1, 11)} <= {value.place for value in values}
    twice = Counter(value._replace(value="", unit="", note="") for value in values)
    assert [value for value, count in twice.items() if count > 1] == []


def test_table_3_has_sixteen_rows_with_the_papers_probes() -> None:
    rows = {value[1:6] for value in paper_values() if value.place == "Table 3"}
    probes = [value.value for value in printed_at(paper_values(), "Table 3", "linear_probe_top1")]
    assert len(rows) == 16
    assert " ".join(probes) == "76.7 78.2 68.6 70.4 37.6 56.7 68.0 74.0 74.8 73.9 73.5 71.4 76.2"


def test_published_and_own_results_stand_beside_the_papers_value(here: Setting) -> None:
    for seed, top1 in enumerate((80.0, 81.0, 83.0)):
        add(published(here), "can/vit_l/800", seed, top1=top1)
    add(here, "can/vit_l/800", 0, top1=77.25)
    text = make_table2.render(here)
    assert heading(text)[3:] == ["Images seen", "Paper", "Published", "Yours"]
    # mean 81.333, deviations -1.333, -.333, 1.667: sqrt((1.778 + .111 + 2.778) / 2) = 1.528
    assert cells(text, "CAN", "ViT-L", "800") == ["CAN", "ViT-L", "800", "64,192", "72.8", "81.3 ± 1.5 (3)", "77.2 (1)"]
    assert "Published: what this repository gives. Yours: what this machine made." in text


def test_a_fresh_clone_prints_what_is_published_and_how_the_readers_own_are_made(here: Setting) -> None:
    add(published(here), "can/vit_l/800", 0, top1=80)
    text = make_table2.render(here)
    assert heading(text)[5:] == ["Published"]
    assert "Published: what this repository gives. Yours will stand beside it: `bash experiments/table2_jft.sh" in text
    assert "- Published: Of the 16" in text and "- Yours: Of" not in text


def test_own_results_alone_say_so(here: Setting) -> None:
    add(here, "can/vit_l/800", 0, top1=80)
    text = make_table2.render(here)
    assert heading(text)[5:] == ["Yours"]
    assert "Yours: what this machine made." in text and "Published" not in text


def test_without_any_result_there_are_dashes_and_a_command_for_all_rows_and_for_each(here: Setting) -> None:
    text = make_table2.render(here)
    assert heading(text)[5:] == ["Yours"]
    assert [cells(text, "CAN", "ViT-L", epochs)[3:] for epochs in ("800", "5000")] == [
        ["–", "72.8", "–"],
        ["–", "75.4", "–"],
    ]
    command = f"bash experiments/table2_jft.sh --scale=laptop --results_dir={here.results_dir}"
    assert f"Not measured. `{command}` makes all of it; one row:" in text
    commands = re.findall(r"^- (\S+): `(.*)`$", text, re.M)
    assert len(commands) == len(make_table2.NEEDS)
    assert {line for row, line in commands} == {f"{command} --rows={row}" for row, _ in commands}
    assert "Nothing is measured yet." in text and RULE not in text and "not measured" not in text


def test_what_is_measured_has_no_command(here: Setting) -> None:
    add(here, "can/vit_l/800", 0, top1=80)
    add(published(here), "can/vit_b/800", 0, top1=80)
    text = make_table2.render(here)
    assert "--rows=random/vit_b/0`" in text
    assert "--rows=can/vit_l/800`" not in text and "--rows=can/vit_b/800`" not in text


def test_quoted_rows_are_of_resnets_for_which_a_vit_stands_here_and_dnc_is_not_run(here: Setting) -> None:
    for row, top1 in (("moclr/vit_b/5000", 40.0), ("moclr/vit_l/5000", 50.0), ("byol/vit_b/5000", 45.0)):
        add(here, row, top1=top1)
    text = make_table2.render(here)
    assert cells(text, "MoCLR, Tian et al. (2021)", "R50")[-2:] == ["67.6", "40.0 (1)"]
    assert cells(text, "MoCLR, Tian et al. (2021)", "R200×2")[-2:] == ["74.2", "50.0 (1)"]
    assert cells(text, "BYOL, Grill et al. (2020)", "R50")[-2:] == ["67.9", "45.0 (1)"]
    assert cells(text, "DnC, Tian et al. (2021)", "R200×2")[3:] == ["–", "77.3", "–"]
    assert len(re.findall(r"^\| \w+, .* et al\.", text, re.M)) == 6
    assert "ViT-B for R50 and ViT-L for R200×2" in text
    assert "MoCLR" not in text.split("## Do the paper's orderings hold here?")[1]  # no ordering of other encoders


def test_untrained_encoders_are_rows_without_a_value_of_the_paper_and_chance_is_said(here: Setting) -> None:
    add(here, "random/vit_b/0", 0, top1=69, chance=10)
    text = make_table2.render(here)
    assert cells(text, "untrained", "ViT-B") == ["untrained", "ViT-B", "0", "0", "–", "69.0 (1)"]
    assert "Chance, which is always naming the most frequent class: 10.0 %." in text


def test_the_head_says_roles_test_images_and_what_an_epoch_of_the_paper_is_here(here: Setting) -> None:
    add(here, "can/vit_l/800", 0, top1=80)
    add(here, "can/vit_l/5000", 0, top1=82)
    text = make_table2.render(here)
    assert "mean ± standard deviation (seeds). Test images: 10,000." in text
    assert "- ViT-L is played by `micro` (width 128, depth 4, 36 patches of 4 px in images of 24 px).\n" in text
    assert "IN-1K is played by `cifar10`: classifiers are trained on its `train` and tested on its `test`." in text
    assert "JFT-300M in pre-training is played by `offline_mix`." in text
    # 64,200 images at 800 epochs, and × (5000 / 800) ** .45 = 146,447, in batches of 32
    assert "images seen here: 800 → 64,192 (2,006 steps); 5000 → 146,432 (4,576 steps)." in text
    assert "ViT-B is played" not in text


def test_a_recast_table_shows_the_rows_that_were_run_and_says_what_was_recast(here: Setting) -> None:
    add(published(here), "can/vit_l/800", 0, top1=80)
    scale = dataclasses.replace(here.scale, data=here.scale.data | {"jft": "folder:/home/someone/my photos"})
    given = ("--uncurated=folder:/home/someone/my photos", "--batch_size=64")
    recast = dataclasses.replace(here, scale=scale, overrides={"batch_size": 64}, given=given)
    add(recast, "can/vit_l/800", 0, top1=55)
    text = make_table2.render(recast)
    assert "- **Recast with `--uncurated=folder:/home/someone/my photos --batch_size=64`.**" in text
    assert "played by `folder:my photos`" in text and "800 → 64,192 (1,003 steps)" in text
    assert heading(text)[5:] == ["Yours"]  # nothing of the kind is published
    assert cells(text, "CAN", "ViT-L", "800")[5:] == ["55.0 (1)"]
    assert "--scale=laptop '--uncurated=folder:/home/someone/my photos' --batch_size=64" in text  # the missing rows


def test_what_was_made_with_other_settings_is_left_out_and_said(here: Setting) -> None:
    add(published(here), "can/vit_l/800", 0, top1=80)
    add(here, "can/vit_l/800", 0, top1=90, protocol={"base_lr": 0.1})
    text = make_table2.render(here)
    assert cells(text, "CAN", "ViT-L", "800")[5:] == ["80.0 (1)"]
    said = text.partition("**Left out, or not comparable:**")[2]
    assert "- linear_probe of yours can-vitl-jft-e800-s0 was made with other settings:\n  - base_lr: 0.1 (on" in said


def test_the_papers_orderings_are_counted_for_each_source(here: Setting) -> None:
    for row, top1 in {"can/vit_l/800": 80, "can/vit_l/1600": 70, "simclr/vit_l/800": 75, "random/vit_l/0": 60}.items():
        for seed in range(3):
            add(published(here), row, seed, top1=top1 + 0.1 * seed)
    add(here, "can/vit_l/800", 0, top1=80)
    add(here, "simclr/vit_l/800", 0, top1=10)
    text = make_table2.render(here)
    assert (  # CAN above SimCLR at 800; longer CAN
        "- Published: Of the 16 orderings of the paper, 1 leans to the paper, 1 leans against it, "
        "0 show no difference above 1 point, 0 are open and 14 are not measured. "
        "Of the 11 comparisons with an untrained encoder, 3 lean to the paper,"
    ) in text
    assert "1 is open and 15 are not" in text
    above, longer = (
        cells(text, "CAN above SimCLR at equal size and epochs"),
        cells(text, "Longer pre-training is better"),
    )
    assert above[1:3] + above[4:] == ["ViT-L 800", "+0.2", "leans to the paper", "+70.0 (one seed)", "open"]
    assert longer[1:3] + longer[4:] == ["CAN ViT-L 800 → 1600", "+1.5", "leans against", "–", "not measured"]
    difference, low, high = map(float, re.findall(r"[+-][\d.]+", longer[3].replace("−", "-")))
    assert low < difference == -10 < high < -7
    assert "| Trained above untrained                   | MAE" not in text  # nobody measured it


def test_the_papers_own_contradiction_is_shown(here: Setting) -> None:
    assert "- SimCLR ViT-L 5000 has 73.4 in Table 2 and 71.8 in Sec. 4.1.\n" in make_table2.render(here)


def test_smoke_says_in_markdown_and_latex_that_it_is_not_a_result(here: Setting, tmp_path: Path) -> None:
    smoke = setting(tmp_path, "smoke")
    add(smoke, "can/vit_l/800", 0, top1=20)
    assert make_table2.render(smoke).splitlines()[0].endswith("scale `smoke` (smoke: not a result)")
    assert "smoke: not a result" in (smoke.results_dir / "smoke" / "table2.tex").read_text(encoding="utf-8")
    assert "not a result" not in make_table2.render(here)


def test_the_csv_has_numbers_of_six_digits_and_nothing_where_nothing_was_measured(here: Setting) -> None:
    for seed, top1 in enumerate((80.01, 80.04)):
        add(here, "simclr/vit_l/1600", seed, top1=top1)
    make_table2.render(here)
    lines = list(csv.DictReader((here.results_dir / "laptop" / "table2.csv").open(encoding="utf-8")))
    assert len(lines) == 20
    (line,) = [line for line in lines if line["yours_mean"]]
    assert line == dict(
        method="SimCLR",
        encoder="ViT-L",
        epochs="1600",
        images_seen=line["images_seen"],
        steps=line["steps"],
        test_images="10000",
        paper="73.1",
        yours_mean="80.025",
        yours_sd="0.021213",  # .03 / sqrt(2)
        yours_seeds="2",
    )
    assert int(line["images_seen"]) == 32 * int(line["steps"]) == 87_680  # 64,200 × 2 ** .45 in batches of 32
    assert {line["yours_sd"] for line in lines} == {"0.021213", ""}


def test_the_latex_has_a_line_a_row_and_no_bare_special_character(here: Setting) -> None:
    odd = dataclasses.replace(here, given=("--labelled=folder:/a_b/50%~c^d\\e#",))
    add(odd, "can/vit_l/800", 0, top1=80)
    make_table2.render(odd)
    text = (here.results_dir / "laptop" / "table2.tex").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 21  # the heading and 20 rows
    assert {line.count(" & ") for line in lines} == {5}
    assert r"offline\_mix" in text and "R200×2" in text
    assert "/a\\_b/50\\%\\textasciitilde{}c\\textasciicircum{}d\\textbackslash{}e\\#" in text
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
    assert re.findall(r"(?<!\\)[%$#_&~^`*]", caption) == []
    assert text.count("{") == text.count("}") and r"\midrule" in text


def test_latex_cells_are_escaped_as_captions_are() -> None:
    text = to_latex(pd.DataFrame({"a_b": ["5% & #1 {x} ±", "–"]}), caption="", label="tab:x")
    assert r"a\_b \\" in text and r"5\% \& \#1 \{x\} ± \\" in text


def test_markdown_columns_line_up_and_numbers_are_on_the_right() -> None:
    text = to_markdown(pd.DataFrame({"name": ["a", "longer"], "value": ["1.50", None]}))
    assert text == "| name   |   value |\n|:-------|--------:|\n| a      |    1.50 |\n| longer |       – |"


def test_making_the_table_again_changes_no_byte_and_no_run(here: Setting) -> None:
    for seed in range(2):
        add(here, "can/vit_l/800", seed, top1=80 + seed / 3)
        add(published(here), "can/vit_l/800", seed, top1=81 - seed / 7)
    runs = contents(here.results_dir.parent)
    make_table2.render(here)
    before = contents(here.results_dir.parent)
    assert {path.name for path in before.keys() - runs.keys()} == {"table2.md", "table2.csv", "table2.tex"}
    make_table2.render(here)
    assert contents(here.results_dir.parent) == before and runs.items() <= before.items()


def test_a_brief_table_is_the_table_alone_and_writes_the_whole(here: Setting) -> None:
    add(here, "can/vit_l/800", 0, top1=80)
    brief = make_table2.render(here, brief=True)
    assert [line[0] for line in brief.splitlines()] == ["|"] * 22  # heading, rule, 20 rows
    assert f"\n\n{brief}\n\n" in (here.results_dir / "laptop" / "table2.md").read_text(encoding="utf-8")


def test_the_command_prints_the_table_it_writes_and_names_a_damaged_file(here: Setting, run_python) -> None:
    run = add(here, "can/vit_l/800", 0, top1=80)
    flags = [f"--results_dir={here.results_dir}", f"--published_dir={here.published_dir}"]
    done = run_python(Path(make_table2.__file__), *flags)
    assert done.stdout == (here.results_dir / "laptop" / "table2.md").read_text(encoding="utf-8")
    run.eval_path("linear_probe").write_text("[")
    failed = run_python(Path(make_table2.__file__), *flags, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "can-vitl-jft-e800-s0/eval-linear_probe.json is damaged" in failed.stderr
    shutil.rmtree(run.results)
    recast = run_python(Path(make_table2.__file__), *flags, "--batch_size=64")
    assert "- **Recast with `--batch_size=64`.**" in recast.stdout
