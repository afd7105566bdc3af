"""One page of all published results, which needs no network: `python analysis/make_report.py`.

The scoreboard of claims comes first, then every table and figure, then each run's curve, numbers and provenance. Writes
`index.html` into `results/`. It reads what is published alone.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from analysis.lib.command import run_pages
from analysis.lib.results import read_curve
from can.errors import DataError
from can.runs import Evaluated
from can.system.files import read_json
from experiments.harness.scales import SCALES
from experiments.harness.setting import PUBLISHED

NAME = "index.html"
TITLE = "CAN: published results"
INTRODUCTION = (
    "A contrastive masked autoencoder with noise prediction (Mishra, Robinson et al., 2022): the paper's claims, "
    "tables and figures, as this repository measured them. Numbers of the scale smoke show that the machinery works, "
    "and mean nothing."
)
ORDER = ("claims", "table", "figure")  # what names of pages and pictures start with; others follow
LEVELS = 2  # that a page's headings are lowered by
WIDTH, HEIGHT, POINTS = 120, 28, 60  # of a run's curve: pixels, and how many points at most
SCALES_IN_ORDER = ("laptop", "evening", "overnight", "gpu", "paper", "smoke")


class Part(NamedTuple):
    """A page or picture, as HTML."""

    title: str
    anchor: str
    html: str


class Number(NamedTuple):
    """A line of a run's numbers."""

    evaluation: str
    metric: str
    value: str
    n: str


class PublishedRun(NamedTuple):
    """A run, as it is shown."""

    name: str
    summary: str
    curve: str
    numbers: Sequence[Number]
    provenance: str


class ScalePart(NamedTuple):
    """What is published at a scale."""

    name: str
    purpose: str
    parts: Sequence[Part]
    runs: Sequence[PublishedRun]


def page(published: Path = PUBLISHED) -> str:
    """The whole page. Raises DataError if a file is damaged."""
    there = [_scale(published / name) for name in SCALES_IN_ORDER if (published / name).is_dir()]
    scales = [scale for scale in there if scale.parts or scale.runs]
    general = [_page(path, "all") for path in _pages(published)]
    general += [_page(path, "all") for path in sorted((published / "tuning").glob("*/*.md"))]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "lib"), autoescape=True)
    return environment.get_template("report.html.jinja").render(
        title=TITLE, introduction=INTRODUCTION, scales=scales, general=general
    )


def pages(published: Path = PUBLISHED) -> dict[str, str]:
    """The page by its file's name."""
    return {NAME: page(published)}


def _scale(folder: Path) -> ScalePart:
    made = {path.stem: _page(path, folder.name) for path in _pages(folder)}
    drawn = {path.stem: _picture(path) for path in sorted(folder.glob("*.png"), key=_natural)}
    names = sorted(made.keys() | drawn.keys(), key=_place)
    parts = [_together(name, made.get(name), drawn.get(name), folder.name) for name in names]
    runs = [_run(path.parent) for path in sorted(folder.glob("*/provenance.json"))]
    return ScalePart(folder.name, SCALES[folder.name].purpose, parts, runs)


def _place(name: str) -> tuple[Any, ...]:
    first = next((place for place, start in enumerate(ORDER) if name.startswith(start)), len(ORDER))
    return (first, *_natural(Path(name)))


def _together(name: str, page: Part | None, picture: Part | None, scale: str) -> Part:
    """A picture stands with the page of its name, below its heading."""
    if page is None or picture is None:
        if page is not None:
            return page
        assert picture is not None
        return picture._replace(html=f"<h3>{html.escape(picture.title)}</h3>\n{picture.html}")
    heading, end, rest = page.html.partition("</h3>")
    return Part(page.title, page.anchor, heading + end + picture.html + rest)


def _pages(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.md"), key=_natural)


def _natural(path: Path) -> tuple[Any, ...]:
    """Figure 10 comes after Figure 9."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem))


def _page(path: Path, where: str) -> Part:
    """A Markdown page, its headings lowered, its tables in frames that scroll."""
    markdown = MarkdownIt("commonmark", {"html": False}).disable("image").enable("table")  # names are no markup
    tokens = markdown.parse(path.read_text(encoding="utf-8"))
    title = next(
        (one.content for before, one in zip(tokens, tokens[1:], strict=False) if before.tag == "h1"), path.stem
    )
    shown = markdown.renderer.render(list(_framed(tokens, title)), markdown.options, {})
    return Part(re.sub("[`*]", "", title.split(", scale")[0]), f"{where}-{path.stem}", shown)


def _framed(tokens: Iterable[Token], title: str) -> Iterator[Token]:
    label = html.escape(re.sub("[`*]", "", title))
    for token in tokens:
        if re.fullmatch(r"h\d", token.tag):
            token.tag = f"h{min(int(token.tag[1]) + LEVELS, 6)}"
        if token.type == "table_open":
            frame = Token("html_block", "", 0)
            frame.content = f'<div class="wide" tabindex="0" role="region" aria-label="Table of: {label}">'
            yield frame
        yield token
        if token.type == "table_close":
            frame = Token("html_block", "", 0)
            frame.content = "</div>\n"
            yield frame


def _picture(path: Path) -> Part:
    name = path.stem.replace("_", " ").capitalize()
    name = re.sub(r"^(Figure|Table)(\d)", r"\1 \2", name)
    data = base64.b64encode(_as_webp(path)).decode()
    described = html.escape(f"{name} at the scale {path.parent.name}; its numbers are in {path.stem}.csv")
    shown = (
        f'<figure><img alt="{described}" src="data:image/webp;base64,{data}">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
    )
    return Part(name, f"{path.parent.name}-{path.stem}", shown)


def _as_webp(path: Path) -> bytes:
    """The same pixels as lossless WebP: a third of a PNG's bytes. Raises DataError if the file is damaged."""
    encoded = io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.save(encoded, "WEBP", lossless=True, quality=50, method=2)
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise DataError(f"{path} is damaged: {error}") from error
    return encoded.getvalue()


def _run(folder: Path) -> PublishedRun:
    provenance = read_json(folder / "provenance.json")
    records = [
        (path.stem.removeprefix("eval-"), record)
        for path in sorted(folder.glob("eval-*.json"))
        for record in Evaluated.read(path).records
    ]
    try:
        numbers = [
            Number(name, record["metric"], f"{record['value']:.4f}", f"{record['n']:,}") for name, record in records
        ]
        summary = f"{provenance.get('steps', 0):,} steps, commit {str(provenance['git']['commit'])[:7]}"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder} does not hold a published run: {error!r}") from error
    text = json.dumps(provenance, indent=1)
    return PublishedRun(folder.name, summary, _curve(folder / "train.csv"), numbers, text)


def _curve(path: Path) -> str:
    """The loss over the steps as a small SVG; empty for what was not trained."""
    curve = read_curve(path)
    losses = [] if "loss" not in curve else curve["loss"].tolist()
    losses = losses[:: max(1, len(losses) // POINTS)]
    if len(losses) < 2:
        return ""
    low, high = min(losses), max(losses)
    points = " ".join(
        f"{1 + (WIDTH - 2) * place / (len(losses) - 1):.1f},"
        f"{1 + (HEIGHT - 2) * (high - loss) / max(high - low, 1e-12):.1f}"
        for place, loss in enumerate(losses)
    )
    label = f"Loss of pre-training, from {losses[0]:.3f} to {losses[-1]:.3f}"
    return (
        f'<svg role="img" aria-label="{label}" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<title>{label}</title><polyline points="{points}"/></svg>'
    )


if __name__ == "__main__":
    run_pages(pages)
