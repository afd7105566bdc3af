"""Tables 5-10: every value that the paper prints is compared, and what differs is what docs/paper.md explains."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from invented import cells

from analysis import make_hyperparameters
from analysis.lib.paper import paper_values
from analysis.make_hyperparameters import Compared, at_scale, compare
from can.commands.scales import SCALES

OPEN_POINTS = Path(__file__).resolve().parent.parent / "docs" / "paper.md"
# A row of the list of what the paper leaves open, and the values that differ for this reason.
EXPLAINED = {
    "warm-up of 100-epoch runs": {("Table 5", "warmup_epochs"), ("Table 7", "warmup_epochs")},
    "MAE's augmentation": {
        (place, metric) for place in ("Table 7", "Table 8") for metric in ("color_strength", "gray_prob", "blur_prob")
    },
}


def test_each_value_of_tables_5_to_10_is_compared() -> None:
    printed = [value for value in paper_values() if value.place in {f"Table {number}" for number in range(5, 11)}]
    assert [one.printed for one in compare()] == printed and len(printed) == 60
    assert all(one.ours for one in compare())


def test_what_differs_is_what_the_readme_explains_and_the_page_too() -> None:
    differing = {(one.printed.place, one.printed.metric) for one in compare() if one.differs}
    assert differing == set.union(*EXPLAINED.values())
    text = OPEN_POINTS.read_text(encoding="utf-8")
    assert [point for point in EXPLAINED if f"\n| {point} |" not in text] == []
    assert {metric for _, metric in differing} == {name for names in make_hyperparameters.WHY for name in names}


def test_the_page_counts_and_marks_the_differences() -> None:
    text = make_hyperparameters.pages()["hyperparameters.md"].partition("## The same settings")[0]
    assert "Of the 60 values, 52 are as printed and 8 are not; these are marked with *." in text
    assert cells(text, "8", "MAE, ViT-L, JFT-300M", "`blur_prob`")[3:] == ["0.5", "none *"]
    assert cells(text, "5", "CAN and SimCLR, IN-1K", "`warmup_epochs`")[3:] == ["40", "5 / 40 *"]
    assert cells(text, "6", "CAN and SimCLR, ViT-L, JFT-300M", "`base_lr`")[3:] == ["3.125e-5", "3.125e-5"]
    assert text.count(" * |") == 8


def test_other_scales_stand_in_the_same_rows() -> None:
    text = make_hyperparameters.pages()["hyperparameters.md"].partition("## The same settings")[2]
    assert cells(text, "9", "all", "`finetune_batch_size`")[3:] == ["1024", "1024", "32", "32", "32"]
    assert cells(text, "10", "all", "`linear_probe_base_lr`")[3:] == ["0.1", "0.1", "4", "4", "4"]
    assert cells(text, "7", "MAE, ViT-L, IN-1K", "`base_lr`")[3:] == ["1.5e-4", "1.5e-4", "0.006", "0.006", "0.006"]


def test_a_wrong_preset_would_be_marked() -> None:
    (printed,) = [
        value for value in paper_values() if (value.place, value.metric) == ("Table 10", "linear_probe_epochs")
    ]
    assert not Compared(printed, at_scale(printed, SCALES["paper"])).differs
    assert Compared(printed, at_scale(printed, SCALES["gpu"])).differs  # 50


def test_the_csv_has_a_line_a_value() -> None:
    lines = list(csv.DictReader(io.StringIO(make_hyperparameters.pages()["hyperparameters.csv"])))
    assert len(lines) == 60 and sum(line["differs"] == "True" for line in lines) == 8
