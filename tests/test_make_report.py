"""The page of all published results: complete, by itself, and without an error."""

from __future__ import annotations

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from invented import setting
from markdown_it import MarkdownIt
from PIL import Image

from analysis import make_report
from analysis.lib import captions
from analysis.lib.markup import code, literal
from analysis.lib.results import read as read_results
from can.errors import DataError
from experiments.harness.setting import PUBLISHED

PICTURES = list(PUBLISHED.glob("*/*.png"))
EMPTY = {"meta", "link", "img", "br", "hr"}  # elements without an end


class Reader(HTMLParser):
    """Collects what a browser would follow, and refuses what is not well nested."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if values.get("id") else []  # type: ignore[list-item]
        self.links += [values["href"]] if tag == "a" else []  # type: ignore[list-item]
        self.images += [values] if tag == "img" else []
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    return make_report.page()


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_every_link_leads_to_a_place_and_every_place_is_there_once(read: Reader) -> None:
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert {link for link in read.links if link.startswith("#")} <= {f"#{name}" for name in read.ids}


def test_every_picture_is_in_the_page_to_the_pixel_and_says_what_it_is(read: Reader) -> None:
    drawn = {f"at the scale {path.parent.name}; its numbers are in {path.stem}.csv": path for path in PICTURES}
    assert len(read.images) == len(drawn) > 0
    for image in read.images:
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/webp;base64"
        path = drawn.pop(str(image["alt"])[str(image["alt"]).index("at the scale") :])
        with Image.open(io.BytesIO(base64.b64decode(data))) as shown, Image.open(path) as published:
            np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), np.asarray(published.convert("RGB")))


def test_the_page_needs_no_network_and_is_small_and_has_everything_published(page: str, read: Reader) -> None:
    assert len(page.encode()) < 10e6
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page) and "@import" not in page and "url(" not in page
    assert not {"script", "iframe", "object", "embed"} & set(read.tags)
    text = "".join(read.text)
    for path in [*PUBLISHED.glob("*.md"), *PUBLISHED.glob("*/*.md")]:
        title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").replace("`", "")
        assert title in text, path
    for run in PUBLISHED.glob("*/*/provenance.json"):
        assert run.parent.name in text
    assert {"main", "nav", "h1"} <= set(read.tags) and 'lang="en"' in page and "prefers-color-scheme: dark" in page


def test_the_scoreboard_is_first_and_figures_are_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "laptop"
    folder.mkdir()
    picture = next(PUBLISHED.glob("laptop/*.png"))
    for name in ("figure10", "figure9", "figure9b"):
        shutil.copy(picture, folder / f"{name}.png")
    for name in ("table2", "claims", "other", "figure9"):
        (folder / f"{name}.md").write_text(f"# The {name}, scale `laptop`\n\n| a<b | c |\n|---|---|\n| 1 | 2 |\n")
    page = make_report.page(tmp_path)
    places = [
        page.index(f'<section id="laptop-{name}"')
        for name in ("claims", "table2", "figure9", "figure9b", "figure10", "other")
    ]
    assert places == sorted(places)
    figure = page[page.index('<section id="laptop-figure9"') :]
    assert figure.index("The figure9") < figure.index("<img") < figure.index("<table>")
    assert "a&lt;b" in page


def test_a_damaged_run_is_an_error_that_names_it(tmp_path: Path) -> None:
    run = next(PUBLISHED.glob("laptop/can-*"))
    shutil.copytree(run, tmp_path / "laptop" / run.name)
    next((tmp_path / "laptop" / run.name).glob("eval-*.json")).write_text('{"records": [{"metric": "top1"}]}')
    with pytest.raises(DataError, match=run.name):
        make_report.page(tmp_path)
    shutil.copytree(run, tmp_path / "laptop" / run.name, dirs_exist_ok=True)
    (tmp_path / "laptop" / run.name / "provenance.json").write_text("[]")
    with pytest.raises(DataError, match=run.name):
        make_report.page(tmp_path)


def test_a_damaged_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "laptop").mkdir()
    (tmp_path / "laptop" / "figure1.png").write_bytes(PICTURES[0].read_bytes()[:200])
    with pytest.raises(DataError, match=r"figure1\.png is damaged"):
        make_report.page(tmp_path)


def test_a_curve_falls_from_left_to_right_with_the_loss(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("step,loss\n1,3.0\n2,2.0\n3,1.0\n")
    points = re.search(r'points="([^"]*)"', make_report._curve(path))
    assert points and points[1] == "1.0,1.0 60.0,14.0 119.0,27.0"
    path.write_text("step,loss\n")
    assert make_report._curve(path) == ""
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"train\.csv is damaged"):
        make_report._curve(path)


LIVE = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize("name", [LIVE, f"`{LIVE}", f"``` {LIVE}", "[a](javascript:alert(1))", "![a](https://a.b/c)"])
def test_markup_in_the_name_of_a_data_set_is_text_in_the_page(tmp_path: Path, name: str) -> None:
    """Read as markup, it would run in the browser of whoever opens the page."""
    here = setting(tmp_path, given=(f"--labelled=folder:{name}",))
    folder = tmp_path / "published" / "laptop"
    folder.mkdir(parents=True)
    listed = "\n".join(
        [*captions.describe(read_results((), here), here), literal(name), captions.command_line(here, "table2_jft")]
    )
    (folder / "table2.md").write_text(f"# About {name}\n\n{listed}\n\n{name}\n\n| {literal(name)} |\n|---|\n| 1 |\n")
    Image.new("RGB", (4, 4)).save(folder / "a <b onclick=x>'\"&.png")
    page = make_report.page(tmp_path / "published")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert set(reader.tags) & {"img", "b"} == {"img"} and len(reader.images) == 1
    assert "onerror" not in "".join(reader.images[0]) and all(link.startswith(("#", "https:")) for link in reader.links)
    assert "".join(reader.text).count(name.strip("`! ")) >= 3


@pytest.mark.parametrize("name", ["plain", LIVE, "a`b", "`", "``a```b", "a|b\nc"])
def test_a_name_in_markdown_comes_out_as_it_went_in(name: str) -> None:
    shown = Reader()
    shown.feed(MarkdownIt("commonmark").render(f"{code(name)} and {literal(name)}"))
    assert set(shown.tags) <= {"p", "code"}
    text = " ".join("".join(shown.text).split())
    assert text == " ".join(f"{name} and {name}".split())
    assert code("data/x") == "`data/x`" and literal("base_lr: 0.5 (on disk)") == "base_lr: 0.5 (on disk)"
