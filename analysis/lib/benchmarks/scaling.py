"""The tables of docs/scaling.md: what `experiments/benchmarks/scaling.py` found, and what follows for real devices."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.lib import paper_training
from analysis.lib.benchmarks.accelerators import PAPERS_CHIP, PREDICTED, Accelerator
from analysis.lib.benchmarks.table import BenchmarkTable, table_rows
from can.commands.setting import PUBLISHED

COMMAND = "python experiments/benchmarks/scaling.py"
KINDS = {
    "all_reduce": "All-reduce",
    "all_gather": "All-gather",
    "reduce_scatter": "Reduce-scatter",
    "all_to_all": "All-to-all",
    "collective_permute": "Permute",
}


def _setting(row: Any) -> dict[str, object]:
    return {
        "Devices": row.devices,
        "Images a device": row.batch_size // row.devices,
        "Parameters": "copied" if row.fsdp == 1 else f"shared by {row.fsdp}",
    }


def compiled(rows: pd.DataFrame) -> pd.DataFrame:
    """What a device computes, keeps and sends in a step."""
    kinds = {column: title for column, title in KINDS.items() if rows[f"{column}_operations"].any()}
    return table_rows(
        rows,
        lambda row: (
            _setting(row)
            | {"TFLOPs": f"{row.flops / 1e12:.2f}", "Memory, GB": f"{row.memory / 1e9:.1f}"}
            | {f"{title}, GB": f"{getattr(row, f'{column}_bytes') / 1e9:.3f}" for column, title in kinds.items()}
        ),
    )


def predicted(rows: pd.DataFrame) -> pd.DataFrame:
    """Step times on devices of public data sheets, at the share of their peak that the paper's own run had."""
    share = papers_share_of_peak()

    def cells(row: Any, device: Accelerator) -> dict[str, object]:
        computing, sending = row.flops / (device.flops_per_s * share), sending_seconds(row, device)
        step = computing + sending
        return {
            "Device": device.name,
            **_setting(row),
            "Computing, ms": f"{1000 * computing:.1f}",
            "Sending, ms": f"{1000 * sending:.1f}",
            "Images/s": f"{row.batch_size / step:,.0f}",
            "a device": f"{row.batch_size / step / row.devices:,.0f}",
            "Efficiency": f"{computing / step:.0%}",
            "if sending is hidden": f"{computing / max(computing, sending):.0%}",
        }

    return pd.DataFrame([cells(row, device) for device in PREDICTED for row in rows.itertuples()])


def sending_seconds(row: Any, device: Accelerator) -> float:
    """Of all collective operations of a step, one after the other.

    Within the near devices each sends all of it over its fast links. Beyond, the near ones share the work: each sends
    its part over its own far link.
    """
    count = sum(getattr(row, f"{column}_bytes") for column in KINDS)
    far = count / device.near / device.far_bytes_per_s if row.devices > device.near else 0.0
    return count / device.near_bytes_per_s + far


def papers_share_of_peak() -> float:
    """The share of a TPU v4's peak at which the paper's run computed, by its Appendix B."""
    training = paper_training.training("CAN")
    flops = paper_training.flops_per_image(PUBLISHED, training.encoder)
    return training.images_per_tpu_second * flops / PAPERS_CHIP.flops_per_s


TABLES = {
    "scaling": BenchmarkTable("What a step costs each device", "scaling.csv", COMMAND, compiled, 3),
    "scaling_predicted": BenchmarkTable("Predicted steps", "scaling.csv", COMMAND, predicted, 4),
}
