"""Counts what each method costs at each size and masking rate: `python analysis/make_flops.py`, two minutes.

Writes `results/flops.csv`, `.md` and `.tex`, prints the Markdown, and says whether the counts are the published ones.
Traces the paper's shapes (224 pixels, batch 4096); nothing is run or allocated.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from absl import flags

from analysis.lib.documents import NONE, to_csv, to_latex, to_markdown
from analysis.lib.paper import paper_values
from analysis.lib.paper_training import USUAL_RATE, as_counts, read_counts
from can.commands import cli
from can.commands.folder_flags import define_folder
from can.commands.methods import METHODS
from can.commands.scales import scale_named
from can.commands.spec import Spec, resolve
from can.config import AugmentConfig, DataConfig, OptimConfig, RunConfig
from can.errors import check_choice
from can.methods import method_class, settings_class
from can.models import model_config
from can.run_flops import forward_flops, module_flops, step_flops
from can.system.files import write_atomic
from experiments import table2_jft, table3_in1k

RESULTS = Path(__file__).resolve().parent.parent / "results"
NAMES = {name: METHODS[name].title for name in ("can", "simclr", "mae")}
BESIDE = dict.fromkeys(spec.method for spec in (*table2_jft.CITED, *table3_in1k.CITED, *table3_in1k.EXTENDED))
SIZES_BESIDE = ("B", "L")
SIZES = ("S", "B", "L")
RATES = (0.0, 0.25, 0.5, 0.75)
MODULES = ("encoder", "decoder", "head")
BATCH = 4096
TOLERANCE = 5  # percentage points within which a rounded claim counts as confirmed
SAME = 0.001  # relative; what a step logs is counted too, and differs by less
CAPTION = (
    "What an image costs (both views where a method has two), counted in the traced program at 224 pixels and "
    f"batch {BATCH}; a multiply-add is two FLOPs. Forward: multiply-adds of the matrix products of the loss, with "
    "the share of its modules. Step: all floating-point operations of augmentation, forward, backward and "
    "optimiser. SimCLR / this: what SimCLR on whole views takes, relative to the row, forward and in a step. "
    "Rows with * are the methods as the paper compares them. Behind them stand the methods that it quotes, and CAN "
    "with a momentum teacher and with local crops, at their settings of the scale `paper`: a teacher's forward pass "
    "and local crops are counted, the making of a codebook is not."
)


def count(method: str, size: str, mask_rate: float) -> dict[str, Any]:
    """A row of `flops.csv`: operations an image, its two views together where the method has two.

    `forward_macs` are of the loss, those of a module None if the method does not have it; `step_flops` are of a whole
    training step, elementwise operations too. Raises ConfigError for a rate that the method cannot work with.
    """
    settings: Any = settings_class(method)
    return _counted(
        RunConfig(
            scale="paper",
            epochs=0,
            seed=0,
            model=model_config(size, 224),
            method=settings(mask_rate=mask_rate),
            augment=AugmentConfig(method_class(method).augmentation),
            data=DataConfig("imagenet2012"),
            optim=OptimConfig(base_lr=0, weight_decay=0, batch_size=BATCH, total_steps=1, warmup_steps=0),
        )
    )


def count_beside(method: str, size: str) -> dict[str, Any]:
    """A row of `flops.csv` for one of BESIDE at its settings of `paper`; its rate is 0 if it masks nothing."""
    return _counted(resolve(scale_named("paper"), Spec(method, size, "in1k", 800), 0, dict(batch_size=BATCH)))


def _counted(config: RunConfig) -> dict[str, Any]:
    modules = module_flops(config)
    return dict(
        encoder=config.model.size,
        method=config.method.name,
        mask_rate=float(getattr(config.method, "mask_rate", 0)),
        forward_macs=round(forward_flops(config).macs / BATCH),
        **{f"{name}_macs": round(modules[name].macs / BATCH) if name in modules else None for name in MODULES},
        step_flops=round(step_flops(config).total / BATCH),
    )


def count_all(sizes: Sequence[str]) -> pd.DataFrame:
    """All combinations that exist: CAN and MAE must mask something."""
    rows = []
    for size in sizes:
        rows += [count(method, size, rate) for method in NAMES for rate in RATES if rate or method == "simclr"]
        rows += [count_beside(method, size) for method in BESIDE if size in SIZES_BESIDE]
    return as_counts(rows)


def table(counts: pd.DataFrame) -> pd.DataFrame:
    """The counts as they are shown."""
    simclr = _usual(counts, "simclr").set_index("encoder").loc[counts["encoder"]].reset_index(drop=True)
    usual = counts["mask_rate"] == counts["method"].map(USUAL_RATE)
    shares = counts[[f"{name}_macs" for name in MODULES]].div(counts["forward_macs"], axis=0)
    encoder, decoder, head = (_formatted(shares[name], "{:.0%}") for name in shares)
    return pd.DataFrame(
        {
            "Encoder": "ViT-" + counts["encoder"],
            "Method": counts["method"].map(lambda name: METHODS[name].title) + usual.map({True: " *", False: ""}),
            "Masked": _formatted(counts["mask_rate"], "{:.0%}"),
            "Forward, GMACs": _formatted(counts["forward_macs"] / 1e9, "{:.1f}"),
            "Encoder share": encoder,
            "Decoder": decoder,
            "Head": head,
            "Step, GFLOPs": _formatted(counts["step_flops"] / 1e9, "{:.1f}"),
            "SimCLR / this": _formatted(simclr["forward_macs"] / counts["forward_macs"], "{:.2f}"),
            "in a step": _formatted(simclr["step_flops"] / counts["step_flops"], "{:.2f}"),
        }
    )


def claims(counts: pd.DataFrame) -> list[str]:
    """What the counts say about the FLOPs that the paper states, a sentence each."""
    usual = {method: _usual(counts, method).set_index("encoder") for method in NAMES}
    places: dict[tuple[str, str, str], list[str]] = {}
    for printed in paper_values():
        if printed.metric in ("flops_above_can", "flops_below_simclr"):
            size = printed.architecture.removeprefix("ViT-")
            places.setdefault((printed.metric, size, printed.value), []).append(printed.place)
    sentences = []
    for (metric, size, value), where in places.items():
        if size not in usual["can"].index:
            continue
        this, other, sign = ("simclr", "can", 1) if metric == "flops_above_can" else ("can", "simclr", -1)
        ratio = usual[this].loc[size] / usual[other].loc[size]
        forward, step = (sign * (ratio[name] - 1) * 100 for name in ("forward_macs", "step_flops"))
        verdict = "confirmed" if abs(forward - float(value)) <= TOLERANCE else "not confirmed"
        sentences.append(
            f"The paper ({', '.join(where)}) says that {NAMES[this]} needs {value} % "
            f"{'more' if sign > 0 else 'fewer'} FLOPs than {NAMES[other]} at ViT-{size}: {verdict}, "
            f"it is {forward:.0f} % in the forward pass and {step:.0f} % in a training step."
        )
    return sentences


def pages(counts: pd.DataFrame) -> dict[str, str]:
    """What is made of the counts: the text of `flops.md` and `flops.tex`, by name."""
    shown = table(counts)
    sizes = list(counts["encoder"])
    starts = [row for row in range(1, len(sizes)) if sizes[row] != sizes[row - 1]]
    return {
        "flops.md": "\n\n".join(["# FLOPs", CAPTION, to_markdown(shown), *claims(counts)]) + "\n",
        "flops.tex": to_latex(shown, caption=CAPTION, label="tab:flops", rules_before=starts),
    }


def comparison(counts: pd.DataFrame, published: pd.DataFrame) -> str:
    """Whether the counts are those of the published rows of the same setting, up to SAME: a sentence."""
    setting = ["encoder", "method", "mask_rate"]
    both = counts.merge(published, on=setting, suffixes=("", "_published"))
    ratios = [both[name] / both[f"{name}_published"] for name in counts if name not in setting]
    differs = (pd.concat(ratios, axis=1) - 1).abs().gt(SAME).any(axis=1)
    if not differs.any():
        return f"All {len(both)} rows are within {SAME:.1%} of the published counts."
    rows = ", ".join(
        f"{METHODS[row.method].title} at ViT-{row.encoder} {row.mask_rate:.0%}" for row in both[differs].itertuples()
    )
    return f"{differs.sum()} of {len(both)} rows differ by more than {SAME:.1%} from the published counts: {rows}."


def _usual(counts: pd.DataFrame, method: str) -> pd.DataFrame:
    rows = counts[(counts["method"] == method) & (counts["mask_rate"] == USUAL_RATE[method])]
    return rows[["encoder", "forward_macs", "step_flops"]]


def _formatted(numbers: pd.Series, pattern: str) -> pd.Series:
    return numbers.map(lambda number: NONE if pd.isna(number) else pattern.format(number))


def main() -> None:
    """Counts, writes the three files and prints the table."""
    for size in flags.FLAGS.sizes:
        check_choice("size", size, SIZES)
    folder = Path(flags.FLAGS.results_dir)
    counts = count_all(flags.FLAGS.sizes)
    write_atomic(folder / "flops.csv", to_csv(counts))
    made = pages(counts)
    for name, text in made.items():
        write_atomic(folder / name, text)
    print(made["flops.md"])
    print(comparison(counts, read_counts(RESULTS / "published" / "flops.csv")))
    print(f"Written to {folder}: flops.csv, {', '.join(made)}")


if __name__ == "__main__":
    flags.DEFINE_list("sizes", list(SIZES), "encoders to count: " + ", ".join(SIZES))
    define_folder("results_dir", str(RESULTS), "where flops.csv, .md and .tex go")
    cli.run(main)
