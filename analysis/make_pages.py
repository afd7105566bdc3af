"""Fills the tables of README.md and docs/performance.md from `results/`: `python analysis/make_pages.py`.

A table stands between `<!-- table: NAME -->` and `<!-- /table -->`; what was there is replaced by what TABLES[NAME]
makes of the results. NAME may have an argument, usually a scale: `<!-- table: speed laptop -->`. To add a table, add a
line to TABLES and the two markers to the page.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import re
from collections.abc import Callable
from pathlib import Path

from absl import flags

from analysis.lib import benchmark_tables, resource_tables
from can.errors import DataError, check_choice
from can.files import write_atomic
from experiments.harness import cli

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs" / "performance.md")
MARKED = re.compile(r"(<!-- table: (\S+)(.*?) -->\n).*?(<!-- /table -->)", re.DOTALL)


def flops(results_dir: Path) -> str:
    """The table of `results/flops.md`, with what it says about the paper's claims."""
    path = results_dir / "flops.md"
    if not path.exists():
        return "– (not counted: `python analysis/make_flops.py`)"
    return path.read_text(encoding="utf-8").split("\n\n", 2)[2].strip()  # behind the title and the caption


def table2(results_dir: Path, scale: str) -> str:
    """What `results/<scale>/table2.md` says, without its title."""
    return _page(results_dir / scale / "table2.md", "bash experiments/table2_jft.sh", heading="#### ")


def transfer(results_dir: Path, scale: str) -> str:
    """What `results/<scale>/transfer.md` says, without its title."""
    return _page(results_dir / scale / "transfer.md", "bash experiments/transfer.sh", heading="#### ")


def learning_rates(results_dir: Path, scale: str) -> str:
    """The rates that were tried on held-out images."""
    return _page(results_dir / "tuning" / scale / "learning_rates.md", f"bash experiments/tune_{scale}.sh", heading="")


def _page(path: Path, command: str, *, heading: str) -> str:
    """The text of a made page, its title left out and its headings lowered to `heading`."""
    if not path.exists():
        return f"– (not made: `{command}`)"
    text = re.sub(r"\A# .*\n+", "", path.read_text(encoding="utf-8"))
    return re.sub(r"^#+ ", heading, text, flags=re.MULTILINE).strip()


TABLES: dict[str, Callable[..., str]] = {
    "flops": flops,
    "table2": table2,
    "transfer": transfer,
    "learning_rates": learning_rates,
    **benchmark_tables.TABLES,
    **resource_tables.TABLES,
}


def fill(page: str, results_dir: Path) -> str:
    """`page` with its tables made anew. Raises ConfigError for a name that is not in TABLES."""

    def made(match: re.Match[str]) -> str:
        opening, name, arguments, closing = match.groups()
        check_choice("table", name, TABLES)
        return f"{opening}{TABLES[name](results_dir, *arguments.split())}\n{closing}"

    opened, filled = page.count("<!-- table:"), MARKED.sub(made, page)
    if opened != len(MARKED.findall(page)):
        raise DataError("a table's opening marker has no `<!-- /table -->` behind it: add it to the page")
    return filled


def main() -> None:
    """Remakes the pages."""
    for page in PAGES:
        write_atomic(page, fill(page.read_text(encoding="utf-8"), Path(flags.FLAGS.results_dir)))
        print(f"{page.relative_to(REPOSITORY)} has the tables of {flags.FLAGS.results_dir}")


if __name__ == "__main__":
    flags.DEFINE_string("results_dir", str(REPOSITORY / "results"), "where the measurements are")
    cli.run(main)
