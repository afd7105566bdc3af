"""Figures 2 and 3, drawn from what an evaluation left."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from invented import add, cells, contents, published, setting

from analysis import make_figure2
from can.commands.evaluations.pictures import SHARES, path_of
from can.commands.setting import Setting
from can.errors import DataError
from can.evals.pictures import Pictures
from experiments.figure2_method import CAN


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def measure(where: Setting, seed: int, correlation: float) -> None:
    """A run whose pictures are noise."""
    metrics = {f"sigma{share:g}/reconstruct": 0.1 + share for share in SHARES}
    metrics |= {f"sigma{share:g}/noise_correlation": correlation for share in SHARES if share}
    folder = add(where, CAN, seed, "pictures", n=128, metrics=metrics)
    draw, levels = np.random.default_rng(seed), [share for share in SHARES if share]
    size, tokens = 24, 36

    def pixels(*shape: int) -> np.ndarray:
        return draw.integers(0, 256, (*shape, size, size, 3), np.uint8)

    Pictures(
        images=pixels(1),
        views=pixels(2, 1),
        noisy=pixels(2, 1),
        reconstructed=pixels(2, 1),
        masked=np.tile(np.arange(tokens) % 2 == 1, (2, 1, 1)),
        noise=pixels().view(np.int8),
        shares=np.array(levels, np.float32),
        predicted=pixels(len(levels)).view(np.int8),
    ).write(path_of(folder))


def test_the_numbers_stand_by_level_of_noise_with_the_deviation_over_seeds(here: Setting) -> None:
    measure(published(here), 0, 0.5)
    measure(published(here), 1, 0.7)
    text = make_figure2.render(here)
    assert cells(text, "0.5") == ["0.5", "0.600 ± 0.000 (2)", "0.600 ± 0.141 (2)"]
    assert cells(text, "0") == ["0", "0.100 ± 0.000 (2)", "–"]


def test_both_figures_are_drawn_with_the_numbers_and_remade_to_the_byte(here: Setting) -> None:
    for seed in range(2):
        measure(here, seed, 0.5)
        measure(published(here), seed, 0.4)
    make_figure2.render(here)
    folder = here.results_dir / "laptop"
    before = contents(folder)
    names = {str(path) for path in before if len(path.parts) == 1}
    assert names == {f"figure{number}.{kind}" for number in (2, 3) for kind in ("png", "pdf")} | {
        "figure3.csv",
        "figure2.md",
        "figure2.tex",
    }
    lines = list(csv.DictReader((folder / "figure3.csv").open(encoding="utf-8")))
    assert len(lines) == 2 * (len(SHARES) + len(SHARES) - 1) and {line["source"] for line in lines} == {"yours"}
    make_figure2.render(here)
    assert contents(folder) == before


def test_a_metric_that_no_run_has_leaves_its_panel_empty(here: Setting) -> None:
    measure(here, 0, 0.5)
    path = here.run(CAN, 0).folder.eval_path("pictures")
    path.write_text(path.read_text().replace("noise_correlation", "something"))
    assert cells(make_figure2.render(here), "0.5") == ["0.5", "0.600 (1)", "–"]


def test_lost_pictures_are_told(here: Setting) -> None:
    measure(here, 0, 0.5)
    path_of(here.run(CAN, 0).folder).unlink()
    with pytest.raises(DataError, match="make it with --force=pictures"):
        make_figure2.render(here)


def test_without_results_there_is_the_command(here: Setting) -> None:
    text = make_figure2.render(here)
    assert f"`bash experiments/figure2_method.sh --scale=laptop --results_dir={here.results_dir}`" in text
