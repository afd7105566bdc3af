"""What is made of `results/published/`: tables beside their numbers, and those in the pages.

In README.md and docs/, a table stands between `<!-- table: NAME -->` and `<!-- /table -->`: what was there is replaced
by what TABLES[NAME] makes. NAME may have an argument, a scale: `<!-- table: speed laptop -->`. To add a table, add a
line to TABLES and the two markers to the page. `publish.py` is the command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from analysis import (
    first_screen,
    make_appendix_b,
    make_claims,
    make_flops,
    make_hyperparameters,
    make_table2,
    make_tuning,
)
from analysis.lib import benchmarks
from analysis.lib.benchmarks import probe_cost
from can.commands.scales import scale_named
from can.commands.setting import PUBLISHED, REPOSITORY, Setting
from can.errors import DataError, check_choice
from can.system.files import write_atomic

PAGES = ("README.md", "docs/performance.md", "docs/performance_appendix.md", "docs/scaling.md", "docs/faults.md")
MARKED = re.compile(r"(<!-- table: (\S+)(.*?) -->\n).*?(<!-- /table -->)", re.DOTALL)


def finding(published: Path, scale: str) -> str:
    """What Table 2 says, in a few sentences."""
    return make_table2.finding(Setting(scale_named(scale), published_dir=published, results_dir=published))


def scoreboard(published: Path, scale: str) -> str:
    """How many of the paper's claims hold, in a sentence."""
    return make_claims.finding(Setting(scale_named(scale), published_dir=published, results_dir=published))


TABLES: dict[str, Callable[..., str]] = {
    "main_rows": first_screen.main_rows,
    "quick_start": first_screen.quick_start,
    "finding": finding,
    "scoreboard": scoreboard,
    "probe_cost": probe_cost.table,
    **{name: table.markdown for name, table in benchmarks.TABLES.items()},
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
    pages = make_flops.pages(make_flops.read_counts(published / "flops.csv"))
    pages |= make_hyperparameters.pages() | make_appendix_b.pages(published)
    return {published / name: text for name, text in pages.items()} | make_tuning.files(published)


def remake() -> list[str]:
    """Remakes the tables and the pages; returns their names."""
    made = tables() | {
        REPOSITORY / name: fill((REPOSITORY / name).read_text(encoding="utf-8"), PUBLISHED) for name in PAGES
    }
    for path, text in made.items():
        write_atomic(path, text)
    return [str(path.relative_to(REPOSITORY)) for path in made]
