"""Draws pictures in rows and columns, and points by class, into a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from can.errors import ConfigError
from can.show.neighbours import Neighbours

KINDS = (".png", ".pdf", ".svg", ".jpg")
CELL = 1.15  # inches
TITLE, SMALL = 8.0, 6.5  # points
RIGHT, WRONG = "#1a7f5a", "#b0308a"  # of frames; a mark says the same
MARKERS = "osD^vP*X<>"
COLORS = ("#1aa865", "#eb6810", "#355ce6", "#960287", "#654400", "#00a0c8", "#d0a000", "#606060", "#e060a0", "#102060")
SMALLEST = 96  # pixels; images of fewer a side are drawn with hard edges

Pixels = UInt8[np.ndarray, "n size size 3"]


def check_path(path: Path) -> None:
    """Raises ConfigError for a kind of file that cannot be drawn."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"--out={path} must end in one of {', '.join(KINDS)}")


def draw_columns(path: Path, columns: Mapping[str, Pixels], *, heading: str) -> None:
    """A row an image, a column a kind of picture, under its title."""
    rows = len(next(iter(columns.values())))
    figure, cells = _cells(rows, len(columns), heading, lines=max(title.count("\n") for title in columns))
    for column, (title, pictures) in enumerate(columns.items()):
        cells[0][column].set_title(title, fontsize=TITLE)
        for row in range(rows):
            _image(cells[row][column], pictures[row])
    _save(figure, path)


def draw_attention(path: Path, images: Pixels, maps: Float[np.ndarray, "n heads grid grid"], *, heading: str) -> None:
    """A row an image: the image, the mean of all heads over it, and each head; bright is looked at."""
    heads = maps.shape[1]
    figure, cells = _cells(len(images), heads + 2, heading)
    for row, image in enumerate(images):
        _image(cells[row][0], image)
        for column, one in enumerate([maps[row].mean(0), *maps[row]], start=1):
            _image(cells[row][column], _lit(image, one))
    for column, title in enumerate(["image", "all heads", *(f"head {head + 1}" for head in range(heads))]):
        cells[0][column].set_title(title, fontsize=TITLE)
    _save(figure, path)


def draw_neighbours(
    path: Path,
    images: Mapping[int, UInt8[np.ndarray, "size size 3"]],
    found: Neighbours,
    labels: Sequence[str] | None,
    *,
    heading: str,
) -> None:
    """A row an image that is asked for, and its neighbours, nearest first; `images` and `labels` by place in the set.

    Below each stand its class and the cosine; a frame and a mark tell whether the class is that of the image asked for.
    """
    asked, k = found.places.shape
    figure, cells = _cells(asked, k + 1, heading, below=0.3)
    cells[0][0].set_title("image", fontsize=TITLE)
    cells[0][1].set_title("nearest", fontsize=TITLE)
    for row in range(asked):
        _image(cells[row][0], images[row], labels[row] if labels else "")
        for column, (place, cosine) in enumerate(zip(found.places[row], found.cosines[row], strict=True), start=1):
            own = labels[row] == labels[place] if labels else None
            mark = "" if own is None else ("✓ " if own else "✗ ")
            named = f"{mark}{labels[place]}\n{cosine:.2f}" if labels else f"{cosine:.2f}"
            frame = None if own is None else (RIGHT if own else WRONG)
            _image(cells[row][column], images[int(place)], named, frame)
    _save(figure, path)


def draw_map(
    path: Path,
    points: Float[np.ndarray, "n 2"],
    labels: Int[np.ndarray, " n"] | None,
    names: Sequence[str],
    *,
    heading: str,
) -> None:
    """A point an image, with a colour and a mark a class, which the legend names."""
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.subplots()
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], s=9, color=COLORS[0], linewidths=0)
    else:
        for order, label in enumerate(np.unique(labels)):
            own = points[labels == label]
            look: dict[str, Any] = {"color": COLORS[order % len(COLORS)]}
            look["marker"] = MARKERS[(order // len(COLORS) + order) % len(MARKERS)]
            axes.scatter(own[:, 0], own[:, 1], s=13, alpha=0.75, linewidths=0, label=names[label], **look)
        figure.legend(loc="outside right upper", fontsize=TITLE, frameon=False, markerscale=1.6)
    axes.set(xticks=[], yticks=[])
    axes.set_title(heading, loc="left", fontsize=TITLE, parse_math=False)
    _save(figure, path)


def _cells(
    rows: int, columns: int, heading: str, *, lines: int = 0, below: float = 0.0
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of square cells under a heading, and its axes, row by row; sizes in inches."""
    top, gap = 0.5 + 0.13 * lines, 0.08
    width, height = columns * (CELL + gap) + gap, rows * (CELL + gap + below) + top + gap
    figure = Figure(figsize=(width, height))
    figure.text(gap / width, 1 - 0.08 / height, heading, va="top", fontsize=TITLE, parse_math=False)

    def cell(row: int, column: int) -> Axes:
        bottom = height - top - (row + 1) * (CELL + gap + below) + below + gap
        box = ((gap + column * (CELL + gap)) / width, bottom / height, CELL / width, CELL / height)
        return figure.add_axes(box)

    return figure, [[cell(row, column) for column in range(columns)] for row in range(rows)]


def _image(axes: Axes, image: UInt8[np.ndarray, "size size 3"], below: str = "", frame: str | None = None) -> None:
    axes.imshow(image, interpolation="nearest" if len(image) < SMALLEST else None)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set(visible=frame is not None, color=frame, linewidth=2)
    axes.set_xlabel(below, fontsize=SMALL, labelpad=2, parse_math=False)


def _lit(
    image: UInt8[np.ndarray, "size size 3"], shares: Float[np.ndarray, "grid grid"]
) -> UInt8[np.ndarray, "size size 3"]:
    """The image in grey, in the colours of a map from dark (not looked at) to bright."""
    scale = len(image) // len(shares)
    lit = (shares - shares.min()) / max(float(np.ptp(shares)), 1e-12)
    colors = matplotlib.colormaps["inferno"](lit.repeat(scale, 0).repeat(scale, 1))[..., :3]
    grey = image.mean(-1, keepdims=True) / 255
    return np.rint(255 * (0.75 * colors + 0.25 * grey)).astype(np.uint8)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
