"""Remakes what is made of `results/published/`, for maintainers: `python analysis/publish_pages.py`.

That is the tables beside their numbers (FLOPs, tuned learning rates), and those in README.md and docs/. In a page, a
table stands between `<!-- table: NAME -->` and `<!-- /table -->`: what was there is replaced by what TABLES[NAME]
makes. NAME may have an argument, a scale: `<!-- table: speed laptop -->`. To add a table, add a line to TABLES and the
two markers to the page.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import re
from collections.abc import Callable
from pathlib import Path

from analysis import make_flops, make_tuning
from analysis.lib import resource_tables, speed_tables
from analysis.lib.tables import read_csv, to_markdown
from can.errors import DataError, check_choice
from can.files import write_atomic
from experiments.harness import cli

REPOSITORY = Path(__file__).resolve().parent.parent
PUBLISHED = REPOSITORY / "results" / "published"
PAGES = ("README.md", "docs/performance.md", "docs/performance_appendix.md")
MARKED = re.compile(r"(<!-- table: (\S+)(.*?) -->\n).*?(<!-- /table -->)", re.DOTALL)


def table2(published: Path, scale: str) -> str:
    """What `<scale>/table2.md` says, without its title."""
    return _page(published / scale / "table2.md", "bash experiments/table2_jft.sh")


def transfer(published: Path, scale: str) -> str:
    """What `<scale>/transfer.md` says, without its title."""
    return _page(published / scale / "transfer.md", "bash experiments/transfer.sh")


def learning_rates(published: Path, scale: str) -> str:
    """The rates that were tried on held-out images."""
    trials = read_csv(published / "tuning" / scale / "learning_rates.csv")
    return "– (not made: `bash experiments/tune_laptop.sh`)" if trials.empty else to_markdown(make_tuning.table(trials))


def _page(path: Path, command: str) -> str:
    """The text of a made page, its title left out and its headings lowered."""
    if not path.exists():
        return f"– (not made: `{command}`)"
    text = re.sub(r"\A# .*\n+", "", path.read_text(encoding="utf-8"))
    return re.sub(r"^#+ ", "#### ", text, flags=re.MULTILINE).strip()


TABLES: dict[str, Callable[..., str]] = {
    "table2": table2,
    "transfer": transfer,
    "learning_rates": learning_rates,
    **{name: table.markdown for name, table in (speed_tables.TABLES | resource_tables.TABLES).items()},
}


def fill(page: str, published: Path) -> str:
    """`page` with its tables made anew. Raises ConfigError for a name that is not in TABLES."""

    def made(match: re.Match[str]) -> str:
        opening, name, arguments, closing = match.groups()
        check_choice("table", name, TABLES)
        return f"{opening}{TABLES[name](published, *arguments.split())}\n{closing}"

    opened, filled = page.count("<!-- table:"), MARKED.sub(made, page)
    if opened != len(MARKED.findall(page)):
        raise DataError("a table's opening marker has no `<!-- /table -->` behind it: add it to the page")
    return filled


def tables(published: Path = PUBLISHED) -> dict[Path, str]:
    """The tables that stand beside their numbers in `published`."""
    made = {
        published / name: text
        for name, text in make_flops.pages(make_flops.read_counts(published / "flops.csv")).items()
    }
    for trials in (published / "tuning").glob("*/learning_rates.csv"):
        made[trials.with_suffix(".md")] = to_markdown(make_tuning.table(read_csv(trials))) + "\n"
    return made


def main() -> None:
    """Remakes the tables and the pages."""
    made = tables() | {
        REPOSITORY / name: fill((REPOSITORY / name).read_text(encoding="utf-8"), PUBLISHED) for name in PAGES
    }
    for path, text in made.items():
        write_atomic(path, text)
        print(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    cli.run(main)
