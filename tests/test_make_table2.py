from __future__ import annotations

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import make_table2
from analysis.lib.formats import Table, escape_latex, to_markdown
from analysis.lib.orderings import Entry, Score, paper_claims
from analysis.lib.paper import paper_values, printed_at
from can.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, RunConfig
from can.errors import DataError
from can.methods import settings_class
from can.runs import RunDir

PROTOCOL = {"name": "linear_probe", "train": "pictures train", "test": "pictures test", "base_lr": 0.1}
TABLE_2 = """
MoCLR R50 5000 67.6 / BYOL R50 5000 67.9 / DnC R50 1000 67.9 / DnC R50 4500 70.7 / MoCLR R200×2 5000 74.2 /
DnC R200×2 3000 77.3 / MAE ViT-L 1600 50.5 / MAE ViT-L 5000 64.1 / SimCLR ViT-B 800 65.8 / SimCLR ViT-L 800 72.6 /
SimCLR ViT-L 1600 73.1 / SimCLR ViT-L 5000 73.4 / CAN ViT-B 800 67.1 / CAN ViT-L 800 72.8 / CAN ViT-L 1600 74.3 /
CAN ViT-L 3000 75.3 / CAN ViT-L 5000 75.4
"""


def config(epochs: float, seed: int, scale: str = "laptop") -> RunConfig:
    return RunConfig(
        scale=scale,
        epochs=epochs,
        seed=seed,
        model=ModelConfig("micro", image_size=28, patch_size=4, width=128, depth=6, heads=4, mlp_dim=512),
        method=settings_class("can")(),
        augment=AugmentConfig(),
        data=DataConfig("offline_mix"),
        optim=OptimConfig(1e-3, 0.05, batch_size=100, total_steps=int(epochs), warmup_steps=0),
    )


def add_run(
    results: Path,
    row: str,
    top1: float,
    seed: int = 0,
    *,
    scale: str = "laptop",
    n: int = 10_000,
    changed: RunConfig | None = None,
    protocol: object = PROTOCOL,
) -> None:
    """Writes the results of a run of `row`, such as can/vit_l/800, with `top1` in per cent."""
    method, model, epochs = row.split("/")
    run = RunDir(results, results.parent / "work", scale, f"{method}-{model.replace('_', '')}-jft-e{epochs}-s{seed}")
    run.claim(changed or config(float(epochs), seed, scale))
    others = [{"metric": "top5", "value": 0.99}, {"metric": "loss", "value": 1.25}]
    records = [{"metric": "top1", "value": top1 / 100}, *others]
    run.write_eval("linear_probe", [record | dict(n=n, seed=seed, protocol=protocol) for record in records])


def cells(markdown: str, *start: str) -> list[str]:
    """The cells of the one table row that starts with these cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]
    (found,) = [row for row in rows if row[: len(start)] == list(start)]
    return found


def sentence(markdown: str, start: str) -> str:
    (found,) = [line for line in markdown.splitlines() if line.removeprefix("- ").startswith(start)]
    return found.removeprefix("- ")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def test_the_values_of_table_2_are_the_papers_in_its_order() -> None:
    ours = [
        f"{value.method} {value.architecture} {value.epochs} {value.value}"
        for value in printed_at(paper_values(), "Table 2", "linear_probe_top1")
    ]
    assert ours == [row.strip() for row in TABLE_2.replace("\n", " ").split("/")]


def test_every_paper_value_is_a_number_with_a_place_and_none_is_given_twice() -> None:
    values = paper_values()
    assert all(value.place and value.metric for value in values)
    assert sum(value.number for value in values) > 0  # every one parses
    assert {f"Table {number}" for number in range(1, 11)} <= {value.place for value in values}
    twice = Counter(value._replace(value="", unit="", note="") for value in values)
    assert [value for value, count in twice.items() if count > 1] == []


def test_table_3_has_sixteen_rows_with_the_papers_probes() -> None:
    rows = {value[1:6] for value in paper_values() if value.place == "Table 3"}
    probes = [value.value for value in printed_at(paper_values(), "Table 3", "linear_probe_top1")]
    assert len(rows) == 16
    assert " ".join(probes) == "76.7 78.2 68.6 70.4 37.6 56.7 68.0 74.0 74.8 73.9 73.5 71.4 76.2"


def test_a_row_is_the_mean_and_sample_deviation_over_its_seeds_beside_the_papers_value(results: Path) -> None:
    for seed, top1 in enumerate((80.0, 81.0, 83.0)):
        add_run(results, "can/vit_l/800", top1, seed)
    row = cells(make_table2.render(results, "laptop"), "CAN", "ViT-L", "800")
    # mean 81.333, deviations -1.333, -.333, 1.667: sqrt((1.778 + .111 + 2.778) / 2) = 1.528
    assert row == ["CAN", "ViT-L", "800", "72.8", "81.3 ± 1.5", "3", "10,000"]


def test_one_seed_has_no_deviation_and_the_table_says_what_follows(results: Path) -> None:
    add_run(results, "mae/vit_l/1600", 77.25)
    markdown = make_table2.render(results, "laptop")
    assert cells(markdown, "MAE", "ViT-L", "1600")[3:] == ["50.5", "77.2", "1", "10,000"]
    assert "Rows of one seed have no spread" in markdown


def test_a_missing_row_is_a_dash_and_the_command_that_makes_it(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    markdown = make_table2.render(results, "laptop")
    assert cells(markdown, "CAN", "ViT-L", "5000")[3:] == ["75.4", "–", "–", "–"]
    command = "bash experiments/table2_jft.sh --scale=laptop --rows=can/vit_l/5000"
    assert f"- can/vit_l/5000: `{command} --results_dir={results}`" in markdown
    assert "--rows=random/vit_b/0" in markdown
    assert "--rows=can/vit_l/800" not in markdown


def test_quoted_rows_stay_quoted_whatever_was_run(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    markdown = make_table2.render(results, "laptop")
    assert cells(markdown, "DnC, Tian et al. (2021)", "R200×2")[3:] == ["77.3", "quoted", "–", "–"]
    assert sum(" quoted |" in line for line in markdown.splitlines()) == 6


def test_untrained_encoders_are_rows_without_a_value_of_the_paper(results: Path) -> None:
    add_run(results, "random/vit_b/0", 69.0)
    row = cells(make_table2.render(results, "laptop"), "random init", "ViT-B")
    assert row == ["random init", "ViT-B", "0", "–", "69.0", "1", "10,000"]


def test_the_header_reads_roles_and_images_from_the_runs(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    add_run(results, "can/vit_l/5000", 82)
    markdown = make_table2.render(results, "laptop")
    assert "ViT-L is played by `micro` (width 128, depth 6, 49 patches of 4 px in images of 28 px)." in markdown
    assert "JFT-300M is played by `offline_mix`." in markdown
    assert "trains on `pictures train` and tests on `pictures test`, in the role of IN-1K." in markdown
    assert "800 → 80,000; 5000 → 500,000." in markdown  # total_steps x batch_size of each configuration
    assert "ViT-B is played" not in markdown


def test_an_ordering_holds_fails_or_is_undecided_by_the_spread_of_the_seeds(results: Path) -> None:
    for row, scores in {
        "can/vit_b/800": (80.0, 80.2),  # 79.9 -> 80.1, deviation .141
        "simclr/vit_b/800": (79.0, 79.2),
        "can/vit_l/800": (80.0, 82.0),  # deviation 1.414
        "simclr/vit_l/800": (80.5, 82.5),
        "can/vit_l/1600": (81.0, 81.2),
        "simclr/vit_l/1600": (82.0, 82.2),
    }.items():
        for seed, top1 in enumerate(scores):
            add_run(results, row, top1, seed)
    markdown = make_table2.render(results, "laptop")
    assert sentence(markdown, "CAN above SimCLR") == (
        "CAN above SimCLR at equal size and epochs: holds in 1 of 3. ViT-B 800 +1.0 (spread 0.2, paper +1.3); "
        "ViT-L 800 −0.5 (spread 2.0, paper +0.2) **undecided**; "
        "ViT-L 1600 −1.0 (spread 0.2, paper +1.2) **does not hold**; ViT-L 5000 not measured."
    )
    assert sentence(markdown, "CAN above MAE") == "CAN above MAE at equal size and epochs: not measured."
    assert "SimCLR 800 +2.4 (spread 1.4, paper +6.8)" in sentence(markdown, "The larger encoder")


def test_the_summary_counts_the_papers_orderings(results: Path) -> None:
    for row, top1 in {"can/vit_l/800": 80, "can/vit_l/1600": 79, "simclr/vit_l/800": 78}.items():
        add_run(results, row, top1)
    # measured: CAN above SimCLR at 800 (holds), CAN longer 800 -> 1600 (does not)
    assert sentence(make_table2.render(results, "laptop"), "Of the paper's").startswith(
        "Of the paper's 16 orderings between two rows, 2 can be judged here. Holds: 1. Does not hold: 1. Undecided"
    )


def test_every_trained_row_is_held_against_the_untrained_encoder_of_its_size(results: Path) -> None:
    for row, top1 in {"random/vit_b/0": 70, "random/vit_l/0": 75, "can/vit_b/800": 72, "can/vit_l/800": 74}.items():
        add_run(results, row, top1)
    line = sentence(make_table2.render(results, "laptop"), "Trained above randomly initialised")
    assert "holds in 1 of 2." in line
    assert "CAN ViT-B 800 +2.0;" in line
    assert "CAN ViT-L 800 −1.0 **does not hold**" in line


def test_orderings_follow_the_papers_numbers_not_the_methods_names() -> None:
    entries = [Entry("CAN", "ViT-L", 800, 60.0, Score(50, None, 1, 10)), Entry("MAE", "ViT-L", 800, 61.0, None)]
    assert [claim.title for claim in paper_claims(entries)] == ["MAE above CAN at equal size and epochs"]


def test_the_papers_own_contradiction_is_shown(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    assert "SimCLR ViT-L 5000 has 73.4 in Table 2 and 71.8 in Sec. 4.1." in make_table2.render(results, "laptop")


def test_smoke_says_in_every_form_that_it_is_not_a_result(results: Path) -> None:
    add_run(results, "can/vit_l/800", 20, scale="smoke")
    add_run(results, "can/vit_l/800", 80)
    assert make_table2.render(results, "smoke").splitlines()[0].endswith("scale `smoke` (smoke: not a result)")
    assert "smoke: not a result" in (results / "smoke" / "table2.tex").read_text()
    assert "not a result" not in make_table2.render(results, "laptop")


def test_runs_with_overrides_unfinished_runs_and_other_folders_are_left_out(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    shutil.copytree(results / "laptop" / "can-vitl-jft-e800-s0", results / "laptop" / "can-vitl-jft-e800-mask0.75-s1")
    shutil.copytree(results / "laptop" / "can-vitl-jft-e800-s0", results / "laptop" / "can-vitl-in1k-e800-s1")
    (results / "laptop" / "can-vitl-jft-e800-s2").mkdir()
    assert cells(make_table2.render(results, "laptop"), "CAN", "ViT-L", "800")[5] == "1"


def test_settings_that_changed_between_seeds_or_rows_are_flagged(results: Path) -> None:
    first, second = config(800, 0), config(800, 1)
    add_run(results, "can/vit_l/800", 80, 0)
    add_run(results, "can/vit_l/1600", 80, 0)
    assert "not comparable" not in make_table2.render(results, "laptop")
    add_run(results, "can/vit_l/800", 81, 1, changed=replace(second, optim=replace(first.optim, base_lr=2e-3)))
    add_run(results, "mae/vit_l/1600", 75, 0, protocol=PROTOCOL | {"base_lr": 0.2})
    markdown = make_table2.render(results, "laptop")
    assert "- The seeds of can/vit_l/800 have different settings: optim.base_lr: 0.001, 0.002.\n" in markdown
    assert "- The runs were evaluated under different settings: base_lr: 0.2, 0.1." in markdown


def test_the_csv_has_the_unrounded_numbers_and_the_commands(results: Path) -> None:
    for seed, top1 in enumerate((80.01, 80.04)):
        add_run(results, "simclr/vit_l/1600", top1, seed)
    make_table2.render(results, "laptop")
    rows = list(csv.DictReader((results / "laptop" / "table2.csv").open(encoding="utf-8")))
    (row,) = [row for row in rows if row["kind"] == "measured"]
    assert len(rows) == 19
    assert float(row["top1_mean"]) == pytest.approx(80.025, abs=1e-4)
    assert float(row["top1_sd"]) == pytest.approx(0.0212, abs=1e-4)
    assert (row["paper_top1"], row["seeds"], row["test_images"], row["images_seen"]) == ("73.1", "2", "10000", "160000")
    assert Counter(row["kind"] for row in rows) == {"quoted": 6, "measured": 1, "missing": 12}
    assert all(("--rows=" in row["command"]) == (row["kind"] == "missing") for row in rows)


def test_the_latex_has_a_line_a_row_and_nothing_that_latex_would_read_as_a_command(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    make_table2.render(results, "laptop")
    text = (results / "laptop" / "table2.tex").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 20  # the heading and 19 rows
    assert {line.count("&") for line in lines} == {6}
    assert r"offline\_mix" in text and r"R200$\times$2" in text
    assert text.isascii()
    assert text.count("{") == text.count("}")


def test_latex_escapes_its_special_characters() -> None:
    assert escape_latex("a_b & 5% #1 {x} ± –") == r"a\_b \& 5\% \#1 \{x\} $\pm$ --"


def test_markdown_columns_line_up() -> None:
    text = to_markdown(Table(["name", "value"], [False, True], [["a", "1.5"], ["longer", "10"]]))
    assert text == "| name   | value |\n| ------ | ----: |\n| a      |   1.5 |\n| longer |    10 |"


def test_making_the_table_again_changes_no_byte_and_no_run(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    make_table2.render(results, "laptop")
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    make_table2.render(results, "laptop")
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


def test_a_brief_table_is_the_table_alone_and_writes_the_whole(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    brief = make_table2.render(results, "laptop", brief=True)
    assert [line[0] for line in brief.splitlines()] == ["|"] * 21  # heading, rule, 19 rows
    assert f"\n\n{brief}\n\n" in (results / "laptop" / "table2.md").read_text(encoding="utf-8")


def test_a_scale_without_results_is_one_line_that_names_those_with_some(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    with pytest.raises(DataError, match=r"no results at scale 'laptpo' .*\(scales with results: laptop\)"):
        make_table2.render(results, "laptpo")
    assert not (results / "laptpo").exists()


def test_seeds_on_different_test_sets_are_refused(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80, 0)
    add_run(results, "can/vit_l/800", 80, 1, n=5000)
    with pytest.raises(DataError, match=r"can/vit_l/800 were tested on different numbers of images: \[5000, 10000\]"):
        make_table2.render(results, "laptop")


def test_a_damaged_evaluation_is_refused_with_its_name(results: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    (results / "laptop" / "can-vitl-jft-e800-s0" / "eval-linear_probe.json").write_text('[{"metric": "top1"')
    with pytest.raises(DataError, match="can-vitl-jft-e800-s0/eval-linear_probe.json is damaged"):
        make_table2.render(results, "laptop")


def test_the_command_prints_the_table_it_writes(results: Path, run_python, make_table2_script: Path) -> None:
    add_run(results, "can/vit_l/800", 80)
    done = run_python(make_table2_script, f"--results_dir={results}")
    assert done.stdout == (results / "laptop" / "table2.md").read_text(encoding="utf-8")
    failed = run_python(make_table2_script, f"--results_dir={results}", "--scale=gpu", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: no results at scale 'gpu'") and failed.stderr.count("\n") == 1


@pytest.fixture
def make_table2_script() -> Path:
    return Path(make_table2.__file__)
