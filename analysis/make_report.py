"""One page of all published results, which needs no network: `python analysis/make_report.py`.

The scoreboard of claims comes first, then every table and figure, then each run's curve, numbers and provenance. Writes
`index.html` into `results/`. It reads what is published alone.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import base64
import html
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from absl import flags
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from analysis.lib.results import read_curve
from can.commands import cli
from can.commands.folder_flags import define_folder
from can.commands.scales import SCALES
from can.commands.setting import PUBLISHED, REPOSITORY, RESULTS
from can.errors import DataError
from can.runs import EvalRecord, Evaluated
from can.system.files import read_json, write_atomic

NAME = "index.html"
TITLE = "CAN: published results"
INTRODUCTION = (
    "A contrastive masked autoencoder with noise prediction (Mishra, Robinson et al., 2022): the paper's claims, "
    "tables and figures, as this repository measured them. Numbers of the scale smoke show that the machinery works, "
    "and mean nothing."
)
ORDER = ("claims", "table", "figure")  # what names of pages and pictures start with; others follow
APPENDIX = 9  # the paper's figures from this number on are in its appendix, and are folded here
UNFOLDED = "laptop"  # the scale that is open when the page is
LINKED = ("smoke",)  # scales whose numbers mean nothing: pictures and numbers of runs are linked, not in the page
DOCS = REPOSITORY / "docs"
PIXELS_AN_INCH = 96  # of CSS; a picture is never shown smaller, so that its labels stay legible on a phone
LEVELS = 2  # that a page's headings are lowered by
WIDTH, HEIGHT, POINTS = 120, 28, 60  # of a run's curve: pixels, and how many points at most
SCALES_IN_ORDER = ("laptop", "evening", "overnight", "gpu", "paper", "smoke")


class Part(NamedTuple):
    """A page or picture, as HTML."""

    title: str
    anchor: str
    html: str
    appendix: bool = False


class Measured(NamedTuple):
    """What an evaluation measured of a run."""

    evaluation: str
    images: str  # that it was tested on, over its sets
    values: str  # of all metrics


class PublishedRun(NamedTuple):
    """A run, as it is shown."""

    name: str
    summary: str
    curve: str
    numbers: Sequence[Measured]
    files: str  # links to its configuration, log and provenance


class ScalePart(NamedTuple):
    """What is published at a scale."""

    name: str
    purpose: str
    parts: Sequence[Part]
    runs: Sequence[PublishedRun]
    unfolded: bool


def page(published: Path = PUBLISHED, folder: Path | None = None) -> str:
    """The whole page, as it stands in `folder` (in `published` if None), whose links are relative to it.

    Raises DataError if a file is damaged.
    """
    here = (folder or published).resolve()
    there = [_scale(published / name, here) for name in SCALES_IN_ORDER if (published / name).is_dir()]
    scales = [scale for scale in there if scale.parts or scale.runs]
    general = [_page(path, "all") for path in _pages(published)]
    general += [_page(path, "all") for path in sorted((published / "tuning").glob("*/*.md"))]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "lib"), autoescape=True)
    return environment.get_template("report.html.jinja").render(
        title=TITLE, introduction=INTRODUCTION, scales=scales, general=general
    )


def _scale(folder: Path, here: Path) -> ScalePart:
    sentences = _sentences(DOCS / f"{folder.name}.md", here)
    made = {path.stem: _page(path, folder.name) for path in _pages(folder)}
    drawn = {path.stem: _picture(path, here) for path in sorted(folder.glob("*.png"), key=_natural)}
    names = sorted(made.keys() | drawn.keys(), key=_place)
    parts = [
        _together(made.get(name), drawn.get(name), sentences.get(name, ""))._replace(appendix=_in_appendix(name))
        for name in names
    ]
    runs = [_run(path.parent, here) for path in sorted(folder.glob("*/provenance.json"))]
    return ScalePart(folder.name, SCALES[folder.name].purpose, parts, runs, folder.name == UNFOLDED)


def _in_appendix(name: str) -> bool:
    number = re.fullmatch(r"figure(\d+)", name)
    return number is not None and int(number[1]) >= APPENDIX


def _sentences(path: Path, here: Path) -> dict[str, str]:
    """What a page of `docs/` says of each item of a scale, as HTML, by the names of the files that it links.

    Its table has a line an item: links, what it says, and why where that is not what the paper found.
    """
    if not path.exists():
        return {}
    markdown = MarkdownIt("commonmark", {"html": False}).disable("image")
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        item, *said = [cell.strip() for cell in line.strip("|").split("|")]
        files = re.findall(r"\]\(([^)]*)\)", item)
        if line.startswith("| [") and files:
            text = " ".join(sentence for sentence in said if sentence not in ("", "–"))
            # Links of that page are relative to it.
            text = re.sub(r"\]\(([^)#:]+)\)", lambda link: f"]({_link((path.parent / link[1]).resolve(), here)})", text)
            found |= dict.fromkeys([Path(name).stem for name in files], markdown.render(text))
    return found


def _link(path: Path, here: Path) -> str:
    """The address of a file from the page's folder."""
    return quote(os.path.relpath(path.resolve(), here), safe="/")


def _place(name: str) -> tuple[Any, ...]:
    first = next((place for place, start in enumerate(ORDER) if name.startswith(start)), len(ORDER))
    return (first, *_natural(Path(name)))


def _together(page: Part | None, picture: Part | None, sentences: str) -> Part:
    """A picture stands with the page of its name, below its heading and what `docs/` says of it."""
    said = f'<div class="said">{sentences}</div>' if sentences else ""
    if page is None:
        assert picture is not None
        return picture._replace(html=f"<h3>{html.escape(picture.title)}</h3>\n{said}{picture.html}")
    heading, end, rest = page.html.partition("</h3>")
    if picture is None:
        return page._replace(html=heading + end + said + rest)
    folded = f"<details><summary>Numbers</summary>{rest}</details>"
    return page._replace(html=heading + end + said + picture.html + folded)


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


def _picture(path: Path, here: Path) -> Part:
    """A picture with the caption that its file carries, and links to its files; of LINKED scales the links alone."""
    name = path.stem.replace("_", " ").capitalize()
    name = re.sub(r"^(Figure|Table)(\d)", r"\1 \2", name)
    data, caption, inches = _as_webp(path)
    caption = html.escape(caption or name)
    beside = {"full size": path, "PDF": path.with_suffix(".pdf"), "numbers": path.with_suffix(".csv")}
    files = {what: file for what, file in beside.items() if file.exists()}
    links = " · ".join(f'<a href="{_link(file, here)}">{what}</a>' for what, file in files.items())
    anchor = f"{path.parent.name}-{path.stem}"
    if path.parent.name in LINKED:
        return Part(name, anchor, f"<p>{caption} {links}</p>")
    alt = f"{caption} Its numbers are in {html.escape(path.stem)}.csv." if "numbers" in files else caption
    width = round(inches * PIXELS_AN_INCH)
    encoded = base64.b64encode(data).decode()
    shown = (
        f'<figure><div class="frame" tabindex="0" role="region" aria-label="{html.escape(name)}">'
        f'<img alt="{alt}" width="{width}" src="data:image/webp;base64,{encoded}"></div>'
        f"<figcaption>{caption} {links}</figcaption></figure>"
    )
    return Part(name, anchor, shown)


def _as_webp(path: Path) -> tuple[bytes, str, float]:
    """The same pixels as lossless WebP, a third of a PNG's bytes; the file's caption; its width in inches.

    Photographs, which that does not make small, lose what nobody sees.

    Raises DataError if the file is damaged.
    """
    exact, close = io.BytesIO(), io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.convert("RGB").save(exact, "WEBP", lossless=True, quality=50, method=2)
            picture.convert("RGB").save(close, "WEBP", quality=90)
            caption = str(picture.info.get("Description", ""))
            inches = picture.width / (picture.info.get("dpi") or (PIXELS_AN_INCH, PIXELS_AN_INCH))[0]
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise DataError(f"{path} is damaged: {error}") from error
    encoded = close if 2 * close.tell() < exact.tell() else exact
    return encoded.getvalue(), caption, inches


def _run(folder: Path, here: Path) -> PublishedRun:
    provenance = read_json(folder / "provenance.json")
    paths = [] if folder.parent.name in LINKED else sorted(folder.glob("eval-*.json"))
    evaluated = {path.stem.removeprefix("eval-"): Evaluated.read(path).records for path in paths}
    try:
        numbers = [_measured(name, records) for name, records in evaluated.items() if records]
        summary = f"{provenance.get('steps', 0):,} steps, commit {str(provenance['git']['commit'])[:7]}"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder} does not hold a published run: {error!r}") from error
    files = " · ".join(
        f'<a href="{_link(folder / name, here)}">{name}</a>' for name in ("provenance.json", "config.json", "train.csv")
    )
    return PublishedRun(folder.name, summary, _curve(folder / "train.csv"), numbers, files)


def _measured(name: str, records: Sequence[EvalRecord]) -> Measured:
    images = sorted({record["n"] for record in records})
    of = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    return Measured(name, of, " · ".join(f"{record['metric']} {record['value']:.4f}" for record in records))


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


def main() -> None:
    """Writes the page and says where."""
    folder = Path(flags.FLAGS.results_dir)
    write_atomic(folder / NAME, page(PUBLISHED, folder))
    print(f"{folder / NAME}")


if __name__ == "__main__":
    define_folder("results_dir", str(RESULTS), "where the page goes")
    cli.run(main)
