"""The tables of what `experiments/benchmarks/` and `tests/faults/` measured, by their names."""

from __future__ import annotations

from analysis.lib.benchmarks import faults, resources, scaling, speed, web_images

TABLES = speed.TABLES | resources.TABLES | scaling.TABLES | faults.TABLES | web_images.TABLES
