"""Counts what each method costs at each size and masking rate: `python analysis/make_flops.py`, half a minute.

Writes `results/flops.md`, `.csv` and `.tex` and prints the Markdown. Traces the paper's shapes (224 pixels, batch
4096); nothing is run or allocated.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from analysis.lib.formats import Table, to_csv, to_latex, to_markdown
from analysis.lib.paper import paper_values
from can.config import AugmentConfig, DataConfig, OptimConfig, RunConfig
from can.files import write_atomic
from can.methods import method_class, settings_class
from can.models import model_config
from can.run_flops import forward_flops, module_flops, step_flops
from experiments.harness import cli

RESULTS = Path(__file__).resolve().parent.parent / "results"
NAMES = {"can": "CAN", "simclr": "SimCLR", "mae": "MAE"}
SIZES = ("S", "B", "L")
RATES = (0.0, 0.25, 0.5, 0.75)
USUAL_RATE = {"can": 0.5, "simclr": 0.0, "mae": 0.75}
BATCH = 4096
TOLERANCE = 5  # percentage points within which a rounded claim counts as confirmed
COLUMNS = {  # heading -> whether it is a number
    "Encoder": False,
    "Method": False,
    "Masked": True,
    "Forward, GMACs": True,
    "Encoder share": True,
    "Decoder": True,
    "Head": True,
    "Step, GFLOPs": True,
    "SimCLR / this": True,
    "in a step": True,
}


class Cost(NamedTuple):
    """What an image costs, its two views together where the method has two."""

    size: str
    method: str
    mask_rate: float
    forward_macs: float  # of the loss
    module_macs: dict[str, float]  # of encoder, decoder and head, as far as the method has them
    step_flops: float  # of a training step: augmentation, forward, backward, optimiser; elementwise operations too

    @property
    def usual(self) -> bool:
        """Whether this is the method as the paper compares it."""
        return self.mask_rate == USUAL_RATE[self.method]


def cost(method: str, size: str, mask_rate: float) -> Cost:
    """Traces the method. Raises ConfigError for a rate that it cannot work with."""
    settings: Any = settings_class(method)
    config = RunConfig(
        scale="paper",
        epochs=0,
        seed=0,
        model=model_config(size, 224),
        method=settings(mask_rate=mask_rate),
        augment=AugmentConfig(method_class(method).augmentation),
        data=DataConfig("imagenet2012"),
        optim=OptimConfig(base_lr=0, weight_decay=0, batch_size=BATCH, total_steps=1, warmup_steps=0),
    )
    modules = {name: flops.macs / BATCH for name, flops in module_flops(config).items()}
    return Cost(size, method, mask_rate, forward_flops(config).macs / BATCH, modules, step_flops(config).total / BATCH)


def costs(sizes: Sequence[str] = SIZES, rates: Sequence[float] = RATES) -> list[Cost]:
    """All combinations that are compared: whole views are SimCLR's alone."""
    return [
        cost(method, size, rate) for size in sizes for method in NAMES for rate in rates if rate or method == "simclr"
    ]


def render(results_dir: str | Path, found: Sequence[Cost] | None = None) -> str:
    """Writes the three files and returns the Markdown."""
    found = costs() if found is None else found
    folder, rows = Path(results_dir), table(found)
    caption = (
        "What an image costs (both views where a method has two), counted in the traced program at 224 pixels and "
        f"batch {BATCH}; a multiply-add is two FLOPs. Forward: multiply-adds of the matrix products of the loss, with "
        "the share of its modules. Step: all floating-point operations of augmentation, forward, backward and "
        "optimiser. SimCLR / this: what SimCLR on whole views takes, relative to the row, forward and in a step."
    )
    note = "Rows with * are the methods as the paper compares them."
    markdown = "\n\n".join(["# FLOPs", f"{caption} {note}", to_markdown(rows), *claims(found)]) + "\n"
    starts = [place for place in range(1, len(found)) if found[place].size != found[place - 1].size]
    write_atomic(folder / "flops.md", markdown)
    write_atomic(folder / "flops.csv", _csv(found))
    write_atomic(
        folder / "flops.tex", to_latex(rows, caption=f"{caption} {note}", label="tab:flops", rules_before=starts)
    )
    return markdown


def table(found: Sequence[Cost]) -> Table:
    """The costs as text."""
    return Table(list(COLUMNS), list(COLUMNS.values()), [_cells(row, _simclr(found, row.size)) for row in found])


def claims(found: Sequence[Cost]) -> list[str]:
    """What the counts say about the FLOPs that the paper states, a sentence each."""
    usual = {(row.size, row.method): row for row in found if row.usual}
    places: dict[tuple[str, str, str], list[str]] = {}
    for printed in paper_values():
        if printed.metric in ("flops_above_can", "flops_below_simclr"):
            key = (printed.metric, printed.architecture, printed.value)
            places.setdefault(key, []).append(printed.place)
    sentences = []
    for (metric, architecture, value), where in places.items():
        size = architecture.removeprefix("ViT-")
        can, simclr = usual[size, "can"], usual[size, "simclr"]
        this, other, sign = (simclr, can, 1) if metric == "flops_above_can" else (can, simclr, -1)
        forward = sign * (this.forward_macs / other.forward_macs - 1) * 100
        step = sign * (this.step_flops / other.step_flops - 1) * 100
        verdict = "confirmed" if abs(forward - float(value)) <= TOLERANCE else "not confirmed"
        sentences.append(
            f"The paper ({', '.join(where)}) says that {NAMES[this.method]} needs {value} % "
            f"{'more' if sign > 0 else 'fewer'} FLOPs than {NAMES[other.method]} at {architecture}: {verdict}, "
            f"it is {forward:.0f} % in the forward pass and {step:.0f} % in a training step."
        )
    return sentences


def _simclr(found: Sequence[Cost], size: str) -> Cost:
    return next(row for row in found if row.size == size and row.method == "simclr" and row.usual)


def _cells(row: Cost, simclr: Cost) -> list[str]:
    shares = [row.module_macs.get(name) for name in ("encoder", "decoder", "head")]
    return [
        f"ViT-{row.size}",
        f"{NAMES[row.method]}{' *' if row.usual else ''}",
        f"{row.mask_rate:.0%}",
        f"{row.forward_macs / 1e9:.1f}",
        *("–" if share is None else f"{share / row.forward_macs:.0%}" for share in shares),
        f"{row.step_flops / 1e9:.1f}",
        f"{simclr.forward_macs / row.forward_macs:.2f}",
        f"{simclr.step_flops / row.step_flops:.2f}",
    ]


def _csv(found: Sequence[Cost]) -> str:
    modules = ("encoder", "decoder", "head")
    columns = ("encoder", "method", "mask_rate", "forward_macs", *(f"{name}_macs" for name in modules), "step_flops")
    return to_csv(
        columns,
        [
            (row.size, row.method, row.mask_rate, round(row.forward_macs))
            + tuple(round(row.module_macs[name]) if name in row.module_macs else None for name in modules)
            + (round(row.step_flops),)
            for row in found
        ],
    )


def main() -> None:
    """Remakes the table."""
    print(render(flags.FLAGS.results_dir), end="")


if __name__ == "__main__":
    flags.DEFINE_string("results_dir", str(RESULTS), "where flops.md, .csv and .tex go")
    cli.run(main)
