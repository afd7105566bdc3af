"""The page of all published results: complete, by itself, and without an error."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import browser
import pytest
from invented import setting
from markdown_it import MarkdownIt
from PIL import Image

from analysis import make_report
from analysis.lib import captions
from analysis.lib.markup import code, literal
from analysis.lib.results import read as read_results
from can.commands.setting import PUBLISHED, REPOSITORY
from can.errors import DataError

PICTURES = list(PUBLISHED.glob("*/*.png"))
EMPTY = {"meta", "link", "img", "br", "hr", "input"}  # elements without an end


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
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page is."""
    return tmp_path_factory.mktemp("page") / make_report.NAME


@pytest.fixture(scope="module")
def page(place: Path) -> str:
    made = make_report.page(PUBLISHED, place.parent)
    place.write_text(made, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_every_link_leads_to_a_place_or_a_file_and_every_place_is_there_once(read: Reader, place: Path) -> None:
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert {link for link in read.links if link.startswith("#")} <= {f"#{name}" for name in read.ids}
    files = [unquote(link) for link in read.links if not link.startswith("#")]
    assert len(files) > 500 and all((place.parent / name).is_file() for name in files)


def test_pictures_are_in_the_page_with_what_they_show_and_at_a_size_at_which_labels_are_read(read: Reader) -> None:
    drawn = [path for path in PICTURES if path.parent.name not in make_report.LINKED]
    assert len(read.images) == len(drawn) > 10
    shown = {}
    for image in read.images:
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            shown[picture.convert("RGB").tobytes()] = image
    exact = 0
    for path in drawn:
        with Image.open(path) as published:
            found = shown.get(published.convert("RGB").tobytes())
            inches = published.width / published.info["dpi"][0]
            if found is not None:  # all but photographs are there to the pixel
                exact += 1
                assert published.info.get("Description", "") in str(found["alt"])
                assert ("Its numbers are in" in str(found["alt"])) == path.with_suffix(".csv").exists()
                assert float(str(found["width"])) == pytest.approx(96 * inches, abs=1)  # 9 points are 12 pixels
    assert exact >= len(drawn) - 2


def test_the_page_needs_no_network_and_is_small_and_has_everything_published(page: str, read: Reader) -> None:
    assert len(page.encode()) < 3e6
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page) and "@import" not in page and "url(" not in page
    assert not {"iframe", "object", "embed"} & set(read.tags)
    text = "".join(read.text)
    for path in [*PUBLISHED.glob("*.md"), *PUBLISHED.glob("*/*.md")]:
        title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").replace("`", "")
        assert title in text, path
    for run in PUBLISHED.glob("*/*/provenance.json"):
        assert run.parent.name in text
    assert {"main", "nav", "h1"} <= set(read.tags) and 'lang="en"' in page and "prefers-color-scheme: dark" in page


def test_what_the_docs_say_of_an_item_stands_with_it(page: str) -> None:
    table = page[page.index('<section id="laptop-table2"') : page.index('<section id="laptop-table3"')]
    assert '<div class="said">' in table and table.index('<div class="said">') < table.index("<table>")
    line = next(line for line in (REPOSITORY / "docs/laptop.md").read_text().splitlines() if "table2.md" in line)
    assert line.split("|")[2].strip() in html.unescape(table)


def test_the_scoreboard_is_first_and_figures_are_in_their_order_the_appendix_last(tmp_path: Path) -> None:
    folder = tmp_path / "laptop"
    folder.mkdir()
    picture = next(PUBLISHED.glob("laptop/*.png"))
    for name in ("figure10", "figure8", "figure8b"):
        shutil.copy(picture, folder / f"{name}.png")
    for name in ("table2", "claims", "other", "figure8"):
        (folder / f"{name}.md").write_text(f"# The {name}, scale `laptop`\n\n| a<b | c |\n|---|---|\n| 1 | 2 |\n")
    page = make_report.page(tmp_path)
    places = [
        page.index(f'<section id="laptop-{name}"')
        for name in ("claims", "table2", "figure8", "figure8b", "other", "figure10")
    ]
    assert places == sorted(places)
    figure = page[page.index('<section id="laptop-figure8"') :]
    assert figure.index("The figure8") < figure.index("<img") < figure.index("<table>")
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
    assert "onerror" not in "".join(reader.images[0]) and not any(
        re.match(r"(?!https:)\w+:", link) for link in reader.links
    )
    assert "".join(reader.text).count(name.strip("`! ")) >= 3


@pytest.mark.parametrize("name", ["plain", LIVE, "a`b", "`", "``a```b", "a|b\nc"])
def test_a_name_in_markdown_comes_out_as_it_went_in(name: str) -> None:
    shown = Reader()
    shown.feed(MarkdownIt("commonmark").render(f"{code(name)} and {literal(name)}"))
    assert set(shown.tags) <= {"p", "code"}
    text = " ".join("".join(shown.text).split())
    assert text == " ".join(f"{name} and {name}".split())
    assert code("data/x") == "`data/x`" and literal("base_lr: 0.5 (on disk)") == "base_lr: 0.5 (on disk)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    if browser.CHROMIUM is None:
        pytest.skip("there is no chromium here")
    with browser.started(tmp_path_factory.mktemp("profile")) as found:
        yield found


def complaints(tab: browser.Tab) -> list[object]:
    """Errors of scripts and of the console, dialogues, and requests for anything but the page."""
    requests = [one["request"]["url"] for one in tab.told("Network.requestWillBeSent")]
    console = [one for one in tab.told("Runtime.consoleAPICalled") if one["type"] in ("error", "warning")]
    errors = tab.told("Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Log.entryAdded")
    return [*console, *errors, *(url for url in requests[1:] if not url.startswith("data:"))]


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_goes_wrong_and_nothing_scrolls_sideways(
    tab: browser.Tab, page: str, place: Path, dark: bool
) -> None:
    tab.open(place, width=400, dark=dark)
    assert tab.value("innerWidth") == 400 and tab.value("document.documentElement.scrollWidth") <= 400
    tab.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert tab.value("document.documentElement.scrollWidth") <= 400
    widths = "[...document.images].map(one => one.getBoundingClientRect().width / one.getAttribute('width'))"
    assert min(tab.value(widths)) == 1  # they scroll in frames of their own, and are not made smaller
    back = [int(part) for part in re.findall(r"\d+", tab.value("getComputedStyle(document.body).backgroundColor"))]
    assert (max(back) < 64) == dark
    assert complaints(tab) == []


def test_the_page_has_few_tab_stops_opens_what_a_link_leads_to_and_filters_runs(
    tab: browser.Tab, page: str, place: Path
) -> None:
    tab.open(place)
    stops = "[...document.querySelectorAll('a[href], input, summary, [tabindex]')].filter(one => one.checkVisibility())"
    assert 20 < tab.value(f"{stops}.length") < 100
    tab.value("location.hash = '#smoke-figure7'; reveal()")
    assert tab.value("document.getElementById('smoke-figure7').checkVisibility()")
    total = tab.value("document.querySelectorAll('.runs')[0].querySelectorAll('[data-name]').length")
    typed = "const box = document.querySelector('.runs input'); box.value = 'CAN vitl s1'"
    tab.value(f"{{ {typed}; box.dispatchEvent(new Event('input')) }}")
    shown = "[...document.querySelectorAll('.runs')[0].querySelectorAll('[data-name]:not([hidden])')]"
    names = tab.value(f"{shown}.map(one => one.dataset.name)")
    assert 0 < len(names) < total and all("can" in name and "vitl" in name and "s1" in name for name in names)
    assert tab.value("document.querySelector('.runs output').textContent") == f"{len(names)} shown"
    assert complaints(tab) == []


def test_a_name_that_is_markup_does_nothing_in_a_browser(tab: browser.Tab, tmp_path: Path) -> None:
    folder = tmp_path / "laptop"
    folder.mkdir()
    (folder / "table2.md").write_text(f"# About {LIVE}\n\n{LIVE}\n\n| {LIVE} |\n|---|\n| <script>alert(2)</script> |\n")
    Image.new("RGB", (4, 4)).save(folder / "a <b onclick=alert(3)>'\"&.png")
    (tmp_path / make_report.NAME).write_text(make_report.page(tmp_path), encoding="utf-8")
    tab.open(tmp_path / make_report.NAME)
    assert tab.value("document.images.length") == 1 and "onerror" in tab.value("document.body.innerText")
    assert complaints(tab) == []
