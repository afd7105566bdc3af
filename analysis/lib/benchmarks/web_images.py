"""The table of what a set of web images costs, of what `experiments/benchmarks/web_images.py` measured."""

from __future__ import annotations

import pandas as pd

from analysis.lib.benchmarks.table import BenchmarkTable, table_rows

COMMAND = "python experiments/benchmarks/web_images.py --folder=PHOTOS"
IMAGES = 300_000_000  # of JFT-300M, which the paper pre-trains on


def rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Images a second of each stage and of all, on one core, and what follows for as many as JFT-300M has."""
    return table_rows(
        rows,
        lambda row: {
            "Shorter side": row.side,
            "KB an image": f"{row.bytes_per_image / 1000:.0f}",
            "Images": f"{row.images:,}",
            "Reading, images/s": f"{row.reading_per_s:,.0f}",
            "Decoding, images/s": f"{row.decoding_per_s:,.0f}",
            "Comparing, images/s": f"{row.comparing_per_s:,.0f}",
            "The command, images/s a core": f"{row.images_per_core_s:,.0f}",
            "300 M images, core-hours": f"{core_hours(row.images_per_core_s):,.0f}",
            "TB": f"{row.bytes_per_image * IMAGES / 1e12:.1f}",
        },
    )


def core_hours(images_per_core_s: float) -> float:
    """Of IMAGES images."""
    return IMAGES / images_per_core_s / 3600


TABLES = {"web_images": BenchmarkTable("A set of web images", "web_images.csv", COMMAND, rates, 3)}
