"""How much memory a training step takes: `python experiments/benchmarks/memory.py`.

Nothing is trained: XLA compiles the step of CAN at the paper's scale (ViT-B/16 and ViT-L/16, 224 pixels) from shapes
alone and says what it would allocate. First on one device, for each option that trades time or precision for memory;
then as the paper's whole batch would be laid out over simulated devices. Rows go to `results/memory.csv` one by one;
those that are there are not made again without --force.

These are figures of XLA's CPU backend, whose choice of fusions and buffers is not that of a TPU or GPU: they rank the
options and say what grows with what, more surely than they say gigabytes.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pandas as pd
from absl import flags, logging

from can.commands import cli
from can.commands.folder_flags import define_folder
from can.commands.scales import scale_named
from can.commands.spec import Spec, resolve
from can.config import RunConfig
from can.errors import UserError
from can.sharding import make_mesh
from can.training_step import abstract_state, jit_train_step
from experiments.benchmarks import measurement

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Layout:
    """A training step of CAN at the paper's scale, as far as its memory depends on it."""

    model: str  # a role: "vit_b" or "vit_l"
    batch_size: int
    devices: int
    fsdp: int  # devices that share each parameter
    dtype: str
    remat: str
    accumulate: int
    scan_unroll: int  # blocks of the scan over depth; the depth: no scan


class Memory(NamedTuple):
    """Bytes a device, from XLA's memory analysis of the compiled step."""

    arguments: int  # the state and the batch
    outputs: int  # the new state and the metrics
    temporaries: int
    aliased: int  # outputs that are written where the old state was

    @property
    def peak(self) -> int:
        """What the step needs at once."""
        return self.arguments + self.outputs + self.temporaries - self.aliased


DEPTHS = {"vit_b": 12, "vit_l": 24}


def option_layouts(batch_size: int) -> Iterator[Layout]:
    """One device: both precisions, remat policies, with and without accumulation, and what the scan saves."""
    for model in ("vit_b", "vit_l"):
        for dtype in ("float32", "bfloat16"):
            for remat in ("none", "dense", "block"):
                for accumulate in (1, 4):
                    yield Layout(model, batch_size, 1, 1, dtype, remat, accumulate, scan_unroll=1)
        yield Layout(model, batch_size, 1, 1, "float32", "none", 1, scan_unroll=DEPTHS[model])


def pod_layouts(batch_size: int, device_counts: Sequence[int]) -> Iterator[Layout]:
    """The whole batch over many devices, parameters copied to all or shared by all."""
    for devices in device_counts:
        for model in ("vit_b", "vit_l"):
            for fsdp in (1, devices):
                for remat, accumulate in (("none", 1), ("dense", 1), ("block", 1), ("block", 4)):
                    yield Layout(model, batch_size, devices, fsdp, "bfloat16", remat, accumulate, scan_unroll=1)


def config_of(layout: Layout) -> RunConfig:
    """The run whose step it is."""
    settings = dataclasses.asdict(layout)
    overrides = {name: settings[name] for name in ("batch_size", "dtype", "remat", "accumulate", "scan_unroll")}
    return resolve(scale_named("paper"), Spec("can", layout.model, "in1k", 800), seed=0, overrides=overrides)


def compiled(layout: Layout) -> jax.stages.Compiled:
    """The step on as many devices as this process has, which must be the layout's."""
    config = config_of(layout)
    mesh = make_mesh(fsdp=layout.fsdp)
    graphdef, state = abstract_state(config)
    size = config.model.image_size
    views = jax.ShapeDtypeStruct((layout.batch_size, 2, size, size, 3), jnp.uint8)  # cropped on the host
    rates, key = {"learning_rate": jax.ShapeDtypeStruct((), jnp.float32)}, jax.eval_shape(lambda: jax.random.key(0))
    step = jit_train_step(graphdef, config, state, mesh)
    return step.lower(state, {"image": views}, rates, key).compile()


def measure(program: jax.stages.Compiled) -> Memory:
    """What XLA plans for a step. Raises UserError if it does not say."""
    found = program.memory_analysis()
    if found is None:
        raise UserError(f"{jax.default_backend()} does not say how much memory a program takes: pass JAX_PLATFORMS=cpu")
    return Memory(
        found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes, found.alias_size_in_bytes
    )


SETTING = [field.name for field in dataclasses.fields(Layout)]


def save(path: Path, layout: Layout, memory: Memory) -> None:
    """Adds a row to the CSV file, in place of that of the same layout."""
    measurement.save(path, [dataclasses.asdict(layout) | memory._asdict() | dict(peak=memory.peak)], SETTING)


def measured(path: Path) -> set[Layout]:
    """The layouts in the CSV file; none if it is not there."""
    if not path.exists():
        return set()
    rows = pd.read_csv(path, keep_default_na=False)[SETTING]
    return {Layout(**row) for row in rows.to_dict("records")}


def simulating(devices: int) -> dict[str, str]:
    """The environment of a process that has so many simulated devices."""
    flags_of_xla = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return os.environ | {"XLA_FLAGS": flags_of_xla, "JAX_PLATFORMS": "cpu"}


def _in_child(layouts: Sequence[Layout]) -> Iterator[tuple[Layout, Memory]]:
    """Measures layouts of one number of devices in a process that simulates them: JAX fixes the number at its start."""
    command = [sys.executable, __file__, f"--layouts={json.dumps([dataclasses.asdict(one) for one in layouts])}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=simulating(layouts[0].devices)) as child:
        assert child.stdout is not None
        for layout, line in zip(layouts, child.stdout, strict=False):
            yield layout, Memory(*json.loads(line))
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command[:2])


def main() -> None:
    """Measures what is missing, a process for each number of devices."""
    values = flags.FLAGS
    if values.layouts:  # in the child
        for settings in json.loads(values.layouts):
            print(json.dumps(measure(compiled(Layout(**settings)))), flush=True)
        return
    path = Path(values.results_dir) / "memory.csv"
    counts = [int(count) for count in values.devices]
    wanted = [*option_layouts(values.batch_size), *pod_layouts(values.pod_batch_size, counts)]
    there = set() if values.force else measured(path)
    for devices in dict.fromkeys(layout.devices for layout in wanted):
        missing = [layout for layout in wanted if layout.devices == devices and layout not in there]
        logging.info("%d device(s): %d steps to compile", devices, len(missing))
        for layout, memory in _in_child(missing) if missing else ():
            logging.info("%.2f GB  %s", memory.peak / 1e9, layout)
            save(path, layout, memory)
    print(measurement.told(path))


if __name__ == "__main__":
    flags.DEFINE_integer("batch_size", 64, "images a step on one device")
    flags.DEFINE_integer("pod_batch_size", 4096, "images a step over the simulated devices")
    flags.DEFINE_list("devices", ["8", "16", "32", "64"], "numbers of simulated devices")
    define_folder("results_dir", str(REPOSITORY / "results"), "where memory.csv goes")
    flags.DEFINE_bool("force", False, "make rows again that are there")
    flags.DEFINE_string("layouts", None, "layouts to measure in this process (the script calls itself with it)")
    cli.run(main)
