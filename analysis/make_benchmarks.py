"""Prints the tables of speed, start, memory and input: `python analysis/make_benchmarks.py`.

The reader's own numbers, of `results/`, stand beside the published ones, of `results/published/`. Two long tables of
memory are printed only if --tables names them.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from pathlib import Path

from absl import flags

from analysis.lib.benchmarks import TABLES, faults
from can.commands import cli
from can.commands.folder_flags import define_folder
from can.errors import check_choice

RESULTS = Path(__file__).resolve().parent.parent / "results"
LONG = ("memory_options", "memory_pod", "scaling", "scaling_predicted", *faults.TABLES)


def main() -> None:
    """Prints the tables that the flags name."""
    values = flags.FLAGS
    for name in values.tables:
        check_choice("table", name, TABLES)
    for name in values.tables:
        table = TABLES[name]
        print(f"## {table.title}\n")
        print(table.side_by_side(Path(values.results_dir), RESULTS / "published", values.scale), end="\n\n")


if __name__ == "__main__":
    flags.DEFINE_string("scale", "laptop", "whose speed and starts: a folder of --results_dir")
    flags.DEFINE_list("tables", [name for name in TABLES if name not in LONG], f"which tables, of {', '.join(TABLES)}")
    define_folder("results_dir", str(RESULTS), "where your own measurements are")
    cli.run(main)
