"""What a training step costs each of many devices: `python experiments/benchmarks/scaling.py`.

Nothing is trained: XLA compiles the step of CAN with ViT-L/16 at the paper's batch of 4096 images for simulated
devices. The compiled program tells what each device computes, keeps and sends. Rows go to `results/scaling.csv`; those
that are there are not made again without --force. `docs/scaling.md` says what follows for real devices.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags, logging

from can.commands import cli
from can.commands.folder_flags import define_folder
from can.run_flops import necessary_matmul_flops
from experiments.benchmarks import measurement, memory
from experiments.benchmarks.hlo import KINDS, Sent, collectives
from experiments.benchmarks.memory import SETTING, Layout
from experiments.harness.training_step import NUM_CLASSES

REPOSITORY = Path(__file__).resolve().parents[2]
NVLINKED = 8  # GPUs of a host, which may share parameters fast


def layouts(batch_size: int, device_counts: list[int]) -> Iterator[Layout]:
    """Parameters copied to all devices, or shared by those of a host."""
    for devices in device_counts:
        for fsdp in (1, NVLINKED):
            yield Layout("vit_l", batch_size, devices, fsdp, "bfloat16", "dense", accumulate=1, scan_unroll=1)


def measure(layout: Layout) -> dict[str, Any]:
    """A row of the CSV file; this process must have the layout's devices."""
    program = memory.compiled(layout)
    text = program.as_text()
    assert text is not None
    sent = collectives(text)
    flops = necessary_matmul_flops(memory.config_of(layout), NUM_CLASSES)
    row: dict[str, Any] = dict(flops=flops / layout.devices, memory=memory.measure(program).peak)
    for kind in KINDS:
        operations, count = sent.get(kind, Sent(0, 0.0))
        column = kind.replace("-", "_")
        row |= {f"{column}_operations": operations, f"{column}_bytes": count}
    return dataclasses.asdict(layout) | row


def _in_child(layout: Layout) -> dict[str, Any]:
    """Measures in a process that simulates the devices: JAX fixes their number at its start."""
    command = [sys.executable, __file__, f"--layout={json.dumps(dataclasses.asdict(layout))}"]
    environment = memory.simulating(layout.devices)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measures what is missing, a process each."""
    values = flags.FLAGS
    if values.layout:  # in the child
        print(json.dumps(measure(Layout(**json.loads(values.layout)))), flush=True)
        return
    path = Path(values.results_dir) / "scaling.csv"
    there = set() if values.force else memory.measured(path)
    for layout in layouts(values.batch_size, [int(count) for count in values.devices]):
        if layout not in there:
            logging.info("compiling %s", layout)
            measurement.save(path, [_in_child(layout) | measurement.circumstances()], SETTING)
    print(measurement.told(path))


if __name__ == "__main__":
    flags.DEFINE_integer("batch_size", 4096, "images a step over all devices")
    flags.DEFINE_list("devices", ["8", "64", "512"], "numbers of simulated devices, multiples of 8")
    define_folder("results_dir", str(REPOSITORY / "results"), "where scaling.csv goes")
    flags.DEFINE_bool("force", False, "make rows again that are there")
    flags.DEFINE_string("layout", None, "layout to measure in this process (the script calls itself with it)")
    cli.run(main)
