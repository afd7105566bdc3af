"""Figures: the same files from the same numbers, intervals that are right, panels that say whose numbers they show."""

from __future__ import annotations

import csv
import dataclasses
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented import add, contents, published, setting
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from PIL import Image
from scipy import stats

from analysis import make_figure7, make_figure8
from analysis.lib import drawing, panels
from analysis.lib.results import read
from can.commands.setting import Setting
from can.errors import DataError
from experiments.figure7_masking import RUNS
from experiments.figure8_weights import BASE, SWEEPS


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def runs_of(**values: list[float]) -> pd.DataFrame:
    lines = [(row, seed, value) for row, own in values.items() for seed, value in enumerate(own)]
    return pd.DataFrame(lines, columns=["row", "seed", "value"]).assign(n=100)


def test_the_interval_of_a_mean_is_students_with_the_pooled_deviation() -> None:
    made = drawing.with_intervals(runs_of(a=[50.0, 51, 52], b=[60, 64, 62], c=[70]))
    sd = np.sqrt((2 * 1 + 2 * 4) / 4)
    half = stats.t.ppf(0.975, 4) * sd / np.sqrt([3, 1])
    first = made.drop_duplicates("row").set_index("row")
    assert first["mean"].tolist() == [51, 62, 70]
    assert (first["high"] - first["mean"]).tolist() == pytest.approx([half[0], half[0], half[1]])
    assert (first["mean"] - first["low"]).tolist() == pytest.approx([half[0], half[0], half[1]])
    assert drawing.with_intervals(runs_of(a=[50], b=[60]))[["low", "high"]].isna().to_numpy().all()


def test_what_is_not_trained_lends_and_borrows_no_deviation() -> None:
    runs = runs_of(a=[50.0, 51, 52], b=[60], pixels=[41.0, 41.1, 41.2], random=[42])
    made = drawing.with_intervals(runs.assign(epochs=[800.0] * 4 + [0] * 4))
    half = (made["high"] - made["mean"]).groupby(made["row"]).first()
    t = stats.t.ppf(0.975, 2)
    assert half[["a", "b", "pixels"]].tolist() == pytest.approx([t / np.sqrt(3), t, 0.1 * t / np.sqrt(3)])
    assert np.isnan(half["random"])


def test_a_borrowed_deviation_is_drawn_dotted_and_the_picture_says_so(here: Setting) -> None:
    for values, dotted in (({"a": [50.0, 52], "b": [60.0]}, True), ({"a": [50.0, 52]}, False)):
        figure, (axes,) = drawing.subplots(1)
        runs = drawing.with_intervals(runs_of(**values))
        drawing.interval(axes, runs.assign(at=[1, 1, 2][: len(runs)]), "at", "can")
        bars = [bars for bars in axes.collections if bars.get_gid() == drawing.BORROWED]
        assert [len(one.get_segments()) for one in bars] == [1] * dotted
        path = drawing.save(figure, here, "toy", None, source="yours", caption="A toy.", note="Bars.")
        assert (drawing.BORROWED in Image.open(path).info["Description"]) == dotted


def test_methods_are_told_apart_without_colour() -> None:
    for looks in (drawing.COLORS, drawing.MARKERS, drawing.LINES, drawing.HATCHES):
        assert len(set(map(str, looks.values()))) == len(looks) and {"can", "simclr", "mae"} <= set(looks)


# What lights look like to readers without one kind of cone (Machado et al., 2009, severity 1), and to all others.
SIGHT: dict[str, Any] = {
    "trichromacy": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(colors: list[str], sight: Any) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB colours, as seen."""
    srgb = np.array([to_rgb(color) for color in colors])
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) @ np.transpose(sight)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    xyz = light.clip(0, 1) @ np.transpose(to_xyz) / (0.95047, 1, 1.08883)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_colours_look_alike_to_anybody_and_all_stand_out_from_white(sight: str) -> None:
    for colors in ([*drawing.COLORS.values(), drawing.GREY], [drawing.FOR, drawing.AGAINST, drawing.GREY]):
        seen = lab(colors, SIGHT[sight])
        differences = [float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)]
        assert min(differences) > 25
        assert all(lightness < 62 for lightness, _, _ in lab(colors, SIGHT["trichromacy"]))  # 3:1 on white


def test_methods_at_one_place_stand_beside_each_other_and_a_legend_has_a_bar_where_one_is_drawn() -> None:
    figure, (axes,) = drawing.subplots(1)
    beside = drawing.dodges(["can", "mae"])
    assert beside == {"can": -drawing.DODGE / 2, "mae": drawing.DODGE / 2}
    for method, values in (("can", [50.0, 52]), ("mae", [50.0, 52])):
        runs = drawing.with_intervals(runs_of(a=values)).assign(at=1.0)
        drawing.interval(axes, runs, "at", method, label=True, dodge=beside[method])
    figure.canvas.draw()
    means = [line for line in axes.get_lines() if line.get_markersize() == 5]
    places = [line.get_transform().transform((1.0, 51.0))[0] for line in means]
    assert places[1] - places[0] == pytest.approx(drawing.DODGE * figure.dpi / 72)
    one_seed = drawing.with_intervals(runs_of(a=[50.0])).assign(at=2.0)
    drawing.interval(axes, one_seed, "at", "simclr", label=True)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    assert isinstance(handles["CAN"], ErrorbarContainer) and not isinstance(handles["SimCLR"], ErrorbarContainer)


def test_a_figure_is_three_files_that_are_the_same_to_the_byte_whenever_they_are_made(here: Setting) -> None:
    made = []
    for _ in range(2):
        figure, (axes,) = drawing.subplots(1)
        drawing.interval(axes, drawing.with_intervals(runs_of(a=[50, 52])).assign(at=1), "at", "can", label=True)
        numbers = pd.DataFrame({"value": [1 / 3]})
        path = drawing.save(figure, here, "toy", numbers, source="yours", caption="A toy.", note="Bars: none.")
        made.append(contents(here.results_dir))
    assert path == here.results_dir / "laptop" / "toy.png" and made[0] == made[1]
    assert {str(name) for name in made[0]} == {"laptop/toy.png", "laptop/toy.pdf", "laptop/toy.csv"}
    assert made[0][Path("laptop/toy.csv")] == b"value\n0.333333\n"


@pytest.mark.parametrize(
    "scale, given, said",
    [
        ("laptop", (), "Scale laptop, your results. Bars: none."),
        ("smoke", (), "smoke: not a result, your results. Bars: none."),
        ("laptop", ("--batch_size=8",), "Scale laptop, your results, recast. Bars: none."),
    ],
)
def test_a_figure_says_its_scale_and_whose_numbers_it_shows_and_its_file_carries_the_caption(
    tmp_path: Path, scale: str, given: tuple[str, ...], said: str
) -> None:
    figure, _ = drawing.subplots(1)
    here = dataclasses.replace(setting(tmp_path, scale), given=given)
    path = drawing.save(figure, here, "toy", None, source="yours", caption="A toy.", note="Bars: none.")
    assert figure.get_supxlabel() == said
    with Image.open(path) as picture:
        assert picture.info["Description"] == f"A toy. {said}"


@pytest.mark.parametrize("make, command", [(make_figure7, "figure7_masking"), (make_figure8, "figure8_weights")])
def test_with_nothing_to_draw_the_error_has_the_command(here: Setting, make, command: str) -> None:
    with pytest.raises(
        DataError, match=f"nothing is measured at scale 'laptop': `bash experiments/{command}.sh --scale"
    ):
        make.render(here)


def drawn(here: Setting, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((here.results_dir / "laptop" / f"{name}.csv").open(encoding="utf-8")))


def test_figure_7_draws_the_readers_runs_by_their_masking_rate(here: Setting) -> None:
    add(published(here), RUNS["left"]["can"][0], 0, top1=10)
    for panel, top1 in (("left", 40), ("right", 60)):
        for method in ("can", "simclr"):
            for place, spec in enumerate(RUNS[panel][method][:2]):
                for seed in range(2):
                    add(here, spec, seed, top1=top1 + place + seed)
    text = make_figure7.render(here)
    assert text.splitlines()[0] == str(here.results_dir / "laptop" / "figure7.png")
    assert "--rows=can/vit_b/800/mask_rate=0.9`" in text and "--rows=can/vit_b/800/mask_rate=0`" not in text
    assert make_figure7.render(here, brief=True) == f"{here.results_dir / 'laptop' / 'figure7.png'}\n"
    lines = drawn(here, "figure7")
    assert len(lines) == 16 and {line["source"] for line in lines} == {"yours"}
    means = {(line["panel"], line["method"], line["at"]): float(line["mean"]) for line in lines}
    assert means["left", "can", "0.0"] == 40.5 and means["right", "simclr", "0.15"] == 61.5
    # Four rows of two seeds that differ by 1: the pooled deviation is sqrt(.5), of 4 degrees of freedom.
    half = stats.t.ppf(0.975, 4) * np.sqrt(0.5) / np.sqrt(2)
    assert float(lines[0]["high"]) - float(lines[0]["mean"]) == pytest.approx(half, abs=1e-5)


def test_figure_8_has_a_panel_a_sweep_and_draws_denoisings_share(here: Setting) -> None:
    base = here.run(BASE, 0).folder.name  # which every sweep but one comes through
    for specs in SWEEPS.values():
        for place, spec in enumerate(specs):
            for seed in range(2):
                add(here, spec, seed, top1=(50 if here.run(spec, 0).folder.name == base else 40 + place) + seed)
    assert make_figure8.render(here) == f"{here.results_dir / 'laptop' / 'figure8.png'}\n"  # nothing is missing
    places: dict[str, dict[float, float]] = {}
    for line in drawn(here, "figure8"):
        places.setdefault(line["panel"], {})[float(line["at"])] = float(line["mean"])
    weights = {0.01: 40.5, 0.03: 41.5, 0.1: 42.5, 0.25: 43.5, 0.5: 44.5, 0.9: 45.5}
    assert places["lambda_infonce (sum)"] == weights
    assert places["lambda_infonce"] == weights | {0.25: 50.5}
    assert places["sigma_max"] == {0: 40.5, 0.01: 41.5, 0.05: 50.5, 0.2: 43.5, 0.5: 44.5}
    assert places["lambda_reconstruct"] == {0.5: 40.5, 0.3: 50.5, 0.1: 42.5, 0: 43.5}  # 1 - lambda


def test_the_papers_choices_are_lines_where_its_text_prints_them() -> None:
    expected = {("Sec. 5", "mask_rate"): 0.5, ("Sec. 5", "lambda_infonce"): 0.03, ("Sec. 5", "sigma_max"): 0.05}
    for (place, metric), at in expected.items():
        _, (axes,) = drawing.subplots(1)
        panels.mark_choice(axes, place, metric)
        assert axes.get_lines()[0].get_xdata()[0] == at and axes.get_legend_handles_labels()[1] == [  # type: ignore[index]
            "the paper's choice"
        ]


def test_a_panel_without_runs_says_so(here: Setting) -> None:
    add(here, RUNS["left"]["can"][0], 0, top1=10)
    found = read(make_figure7.NEEDS, here)
    _, (axes,) = drawing.subplots(1)
    panels.draw_sweep(axes, panels.swept(found, "yours", "mask_rate", RUNS["right"], "right"), label=True)
    assert axes.texts[0].get_text() == "not measured"
