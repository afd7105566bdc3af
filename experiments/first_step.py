"""How long a start takes until its first training step: `python experiments/first_step.py --scale=laptop`.

Starts `pretrain.py` for a single step, twice for each method and model, each time in a process and a results folder of
its own: first with an empty cache of compiled programs, then with the cache that the first start filled. A time is that
of the whole command, from its start to its exit: imports, data, compilation, the step, its checkpoint and its results.
Two minutes at `laptop`. Writes `results/<scale>/first_step.csv`.
"""

from __future__ import annotations

import environment  # noqa: F401 - first: ends with one clear line where the requirements are missing

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benchmark_rows
import cli
import presets
import run_flags
from absl import flags
from benchmark_rows import Row

from can.errors import UserError
from can.provenance import LOADED, cpu_model, usable_cpus


def measure(method: str, model: str, scale: str, data_dir: str) -> Row:
    """Seconds of a cold and a warm start. Raises UserError if the run does not start."""
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = (_start(method, model, scale, data_dir, Path(folder), attempt) for attempt in ("cold", "warm"))
    return dict(method=method, model=model, cold_s=cold, warm_s=warm)


def _start(method: str, model: str, scale: str, data_dir: str, folder: Path, attempt: str) -> float:
    settings = dict(scale=scale, method=method, model=model, data="in1k", epochs=100, max_steps=1, data_dir=data_dir)
    folders = dict(results_dir=folder / attempt / "results", workdir=folder / attempt / "work")
    command = [sys.executable, str(run_flags.REPOSITORY / "experiments" / "pretrain.py")]
    command += [f"--{name}={value}" for name, value in (settings | folders).items()]
    variables = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    start = time.perf_counter()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise UserError(f"{method}/{model} did not start: {done.stderr.strip().splitlines()[-1]}")
    return seconds


def main() -> None:
    """Measures what the flags name, writes the rows and prints the table."""
    values = flags.FLAGS
    models = values.models or presets.scale_named(values.scale).models
    circumstances = dict(cpus=usable_cpus(), cpu=cpu_model(), **LOADED)
    path = Path(values.results_dir) / values.scale / "first_step.csv"
    for model in models:
        for method in values.methods:
            row = measure(method, model, values.scale, values.data_dir) | circumstances
            benchmark_rows.add_rows(path, [row], ("method", "model"))
    sys.path.append(str(run_flags.REPOSITORY / "analysis"))
    tables = importlib.import_module("benchmark_tables")
    print(tables.TABLES["first_step"](Path(values.results_dir), values.scale))


if __name__ == "__main__":
    run_flags.define_scale_flags()
    flags.DEFINE_list("methods", ["can", "simclr", "mae"], "methods to start")
    flags.DEFINE_list("models", [], "roles or sizes of models; default: the scale's two")
    cli.run(main)
