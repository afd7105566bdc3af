"""Figures 2 and 3, the method on real images: `python analysis/make_figure2.py [--scale=...]`.

Draws `figure2` (the way of an image through a trained CAN) and `figure3` (the noise that it predicts, and how well, by
the level of noise), as PNG, PDF, and the numbers as CSV, and writes `figure2.md` and `figure2.tex` with the numbers,
into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from analysis.lib import captions, drawing, paper_table
from analysis.lib.command import run
from analysis.lib.documents import Page, to_markdown
from analysis.lib.results import Results, read
from can.commands.evaluations.pictures import path_of
from can.commands.setting import Run, Setting
from can.evals.pictures import NOISE_RANGE, Pictures, visible_of
from can.runs.provenance import without_folder
from experiments.figure2_method import CAN, NEEDS

COMMAND = "figure2_method"  # of experiments/
METRICS = {"reconstruct": "Reconstruction error", "noise_correlation": "Correlation of predicted with true noise"}
DRAWN = ["source", "metric", "share", "seed", "value", "mean", "low", "high"]
MASKED = 205  # grey, of 255
SIGMA = r"$σ_\mathrm{max}$"
LEVELS = (0.5, 1.0, 2.0)  # of noise, as shares of the largest, that Figure 3 shows


def render(setting: Setting, *, brief: bool = False) -> str:
    """Draws the figures, writes the page and returns it, or of it the table alone if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    page = Page(captions.title("Figures 2 and 3: what CAN makes of test images", setting))
    page.add(
        "Of an encoder and decoder that are trained to the end. Reconstruction error: Eq. 2 as the mean over masked "
        "pixels, normalised by ImageNet's mean and deviation. Correlation: Pearson's, over all visible pixels. Noise "
        "levels above 1 are louder than any of training. Mean ± standard deviation (seeds)."
    )
    page.add(captions.whose(found, setting, COMMAND))
    page.bullets(captions.describe(found, setting))
    paper_table.add_gaps(page, found, NEEDS, setting, COMMAND)
    numbers = by_level(found)
    table = frame(numbers)
    if len(table):
        page.add("## By the level of noise")
        page.table(table, caption="Reconstruction and predicted noise by the level of noise, in parts of σ_max.")
        source = found.sources[-1]
        drawn = next(run for owner, run in found.runs if owner == source)
        pictures = Pictures.read(path_of(drawn.folder))
        draw_method(setting, source, drawn, pictures)
        draw_noise(setting, source, drawn, pictures, numbers[numbers["source"] == source])
    page.write(setting, "figure2")
    return to_markdown(table) if brief and len(table) else page.text


def by_level(found: Results) -> pd.DataFrame:
    """The numbers with the level of noise as a column; a row is one metric at one level, and no accuracy (n = 0)."""
    parts = found.records["metric"].str.extract(r"^sigma(?P<share>[^/]+)/(?P<what>.*)$")
    of_level = {"row": found.records["metric"], "share": parts["share"].astype(float), "metric": parts["what"], "n": 0}
    return found.records.assign(**of_level)


def frame(numbers: pd.DataFrame) -> pd.DataFrame:
    """A line a level of noise, a column a metric and source."""
    columns: dict[str, pd.Series] = {}
    for source in dict.fromkeys(numbers["source"]):
        for metric, title in METRICS.items():
            own = numbers[(numbers["source"] == source) & (numbers["metric"] == metric)].groupby("share")["value"]
            columns[f"{title}, {source}"] = own.agg(
                lambda values: (
                    f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "") + f" ({len(values)})"
                )
            )
    if not columns:
        return pd.DataFrame()
    table = pd.DataFrame(columns)
    table.insert(0, "Noise / σ_max", [f"{share:g}" for share in table.index])
    return table


def draw_method(setting: Setting, source: str, drawn: Run, pictures: Pictures) -> None:
    """Figure 2: an image, its views, what the encoder sees, what the decoder makes of it, and the two other losses."""
    visible = visible_of(pictures, drawn.config.model.patch_size)
    figure, (canvas,) = drawing.subplots(1, width=8.6, height=3.7)
    figure.set_layout_engine("none")
    canvas.set(position=(0, 0, 1, 1), xlim=(0, 8.6), ylim=(0, 3.7))  # in inches
    canvas.axis("off")
    _picture(figure, pictures.images[0], (0.15, 1.35), "image")
    for view, bottom in ((0, 2.25), (1, 0.45)):
        middle = bottom + 0.5
        seen = np.where(visible[view, 0][..., None], pictures.noisy[view, 0], MASKED)
        _picture(figure, pictures.views[view, 0], (1.65, bottom), f"view {view + 1}")
        _picture(figure, seen, (3.0, bottom), f"{pictures.masked[view, 0].mean():.0%} masked, noise added")
        _picture(figure, pictures.reconstructed[view, 0], (6.9, bottom), "reconstructed")
        _arrow(canvas, (1.2, 1.85), (1.6, middle))
        _arrow(canvas, (2.7, middle), (2.95, middle))
        _arrow(canvas, (4.05, middle), (4.4, middle))
        _box(canvas, (4.45, middle - 0.28), "encoder")
        _arrow(canvas, (5.3, middle), (5.7, middle))
        _box(canvas, (5.75, middle - 0.28), "decoder")
        _arrow(canvas, (6.55, middle), (6.85, middle))
        _arrow(canvas, (4.85, middle - 0.28 if view == 0 else middle + 0.28), (4.85, 2.08 if view == 0 else 1.62))
    _box(canvas, (4.25, 1.62), "InfoNCE", width=1.2, height=0.46)
    canvas.text(5.55, 1.85, "pooled patches of both views", va="center", fontsize=drawing.SMALL)
    canvas.text(7.4, 1.85, "and the noise:\nFigure 3", va="center", ha="center", fontsize=drawing.SMALL)
    drawing.save(
        figure,
        setting,
        "figure2",
        None,
        source=source,
        caption="Figure 2. The way of a test image through CAN: views, masks, noise, reconstruction.",
        note=f"Run {drawn.folder.name}: {captions.plays(setting, CAN)}; image of {without_folder(setting.labelled)}.",
    )


def draw_noise(setting: Setting, source: str, drawn: Run, pictures: Pictures, numbers: pd.DataFrame) -> None:
    """Figure 3: true and predicted noise at some levels, and both metrics over the levels."""
    visible = visible_of(pictures, drawn.config.model.patch_size)[0, 0][..., None]
    figure, places = drawing.subplots(len(LEVELS) + 3, width=1.9, height=2.3)
    truth, *predictions, correlation, error = places
    _noise(truth, pictures.noise, visible, "noise that was added,\nin parts of its level")
    for axes, level in zip(predictions, LEVELS, strict=True):
        place = list(pictures.shares).index(level)
        _noise(axes, pictures.predicted[place], visible, f"predicted at\n{level:g} {SIGMA}")
    of_metrics = [drawing.with_intervals(numbers[numbers["metric"] == metric]) for metric in METRICS]
    for axes, own, title in zip((error, correlation), of_metrics, METRICS.values(), strict=True):
        drawing.interval(axes, own, "share", CAN.method)
        axes.axvspan(0, 1, color=drawing.GREY, alpha=0.15, linewidth=0)
        axes.set_title(title.replace(" with ", "\nwith "), fontsize=drawing.SMALL)
        axes.set_xlabel(f"noise in parts of {SIGMA}")
    correlation.set_ylim(-0.1, 1)  # of all that it can be: a flat line at 0 is what no prediction looks like
    correlation.axhline(0, color="black", linewidth=0.6)
    error.set_ylim(0, 1.2 * error.get_ylim()[1])
    drawing.save(
        figure,
        setting,
        "figure3",
        pd.concat(of_metrics)[DRAWN],
        source=source,
        caption="Figure 3. The noise that CAN predicts, and how well, by the level of noise.",
        note=f"{_note(of_metrics)} Grey: levels of training. Correlation: 1 is a perfect prediction, 0 is none.",
    )


def _note(of_metrics: Sequence[pd.DataFrame]) -> str:
    """What bars are, if there are any."""
    return drawing.INTERVALS if any(own["low"].notna().any() for own in of_metrics) else drawing.ONE_SEED


def _picture(figure: Figure, image: np.ndarray, corner: tuple[float, float], title: str) -> None:
    """An image of an inch, whose lower left corner is so many inches from the figure's."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((corner[0] / width, corner[1] / height, 1 / width, 1 / height))
    axes.imshow(image, interpolation="nearest")
    axes.set_title(title, loc="center", fontsize=drawing.SMALL)
    axes.axis("off")


def _noise(axes: Axes, noise: np.ndarray, visible: np.ndarray, title: str) -> None:
    """Noise in colours, grey at 0 and full at two standard deviations; masked patches are white."""
    colors = np.clip(127 + noise.astype(int) * NOISE_RANGE / 2, 0, 255)
    axes.imshow(np.where(visible, colors, 255).astype(np.uint8), interpolation="nearest")
    axes.set_title(title, fontsize=drawing.SMALL + 1)
    axes.axis("off")


def _box(axes: Axes, corner: tuple[float, float], text: str, *, width: float = 0.8, height: float = 0.56) -> None:
    """A part of the model."""
    shape = "round,pad=0.02"
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, facecolor="white", edgecolor="black"))
    axes.text(corner[0] + width / 2, corner[1] + height / 2, text, ha="center", va="center")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": drawing.GREY})


if __name__ == "__main__":
    run(render)
