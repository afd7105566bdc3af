"""How long a start takes until its first training step: `python experiments/benchmarks/start.py --scale=laptop`.

Starts `pretrain.py` for a single step, once with an empty cache of compiled programs and then three times with the
cache that the first start filled, for each method and model, each time in a process and a results folder of its own. A
time is that from the command's start to the line that reports the step: imports, data, compilation, the step. Four
minutes at `laptop`. Rows go to `results/<scale>/start.csv`, in place of those of the same method and model.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import flags

from can.commands import cli, scales
from can.commands import flags as setting_flags
from can.commands.setting import REPOSITORY
from can.errors import UserError
from experiments.benchmarks import measurement
from experiments.benchmarks.measurement import Measurement

WARM_STARTS = 3


def measure(method: str, model: str, scale: str, data_dir: str) -> Measurement:
    """Seconds of a cold start, and the median of the warm ones. Raises UserError if the run does not start."""
    with tempfile.TemporaryDirectory() as folder:
        cold, *warm = (
            _start(method, model, scale, data_dir, Path(folder), attempt) for attempt in range(1 + WARM_STARTS)
        )
    return dict(method=method, model=model, cold_s=cold, warm_s=statistics.median(warm))


def _start(method: str, model: str, scale: str, data_dir: str, folder: Path, attempt: int) -> float:
    settings = dict(scale=scale, method=method, model=model, data="in1k", epochs=100, max_steps=1, data_dir=data_dir)
    folders = dict(results_dir=folder / f"{attempt}" / "results", workdir=folder / f"{attempt}" / "work")
    command = [sys.executable, str(REPOSITORY / "experiments" / "pretrain.py")]
    command += [f"--{name}={value}" for name, value in (settings | folders).items()]
    variables = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    seconds, line = None, "it said nothing"
    start = time.perf_counter()
    merged = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with subprocess.Popen(command, env=variables, **merged) as process:  # type: ignore[call-overload]
        for line in process.stdout:
            if seconds is None and line.startswith("step 1/1"):
                seconds = time.perf_counter() - start
    if process.returncode or seconds is None:
        raise UserError(f"{method}/{model} did not start: {line.strip()}")
    return seconds


def main() -> None:
    """Measures what the flags name, prints a line of each and writes the rows."""
    values = flags.FLAGS
    path = Path(values.results_dir) / values.scale / "start.csv"
    for model in values.models or scales.scale_named(values.scale).models:
        for method in values.methods:
            found = measure(method, model, values.scale, values.data_dir)
            print(f"{method}/{model}: first start {found['cold_s']:.1f} s, second {found['warm_s']:.1f} s", flush=True)
            measurement.save(path, [found | measurement.circumstances()], ("method", "model"))
    print(measurement.told(path))


if __name__ == "__main__":
    setting_flags.define_setting_flags()
    flags.DEFINE_list("methods", ["can", "simclr", "mae"], "methods to start")
    flags.DEFINE_list("models", [], "roles or sizes of models; default: the scale's two")
    cli.run(main)
