"""Accelerators as their makers describe them: what a prediction of time starts from."""

from __future__ import annotations

from typing import NamedTuple


class Accelerator(NamedTuple):
    """One device of a cluster; rates are of its data sheet, bytes are of one direction."""

    name: str
    flops_per_s: float  # dense, bfloat16
    near: int  # devices that the fast links join: a host of GPUs, a whole slice of TPUs
    near_bytes_per_s: float  # that a device sends over them
    far_bytes_per_s: float  # that a device sends beyond


TPU_V4 = Accelerator("TPU v4", 275e12, 4096, 150e9, 150e9)  # 6 links of 50 GB/s, both directions together
H100 = Accelerator("H100", 989e12, 8, 450e9, 50e9)  # NVLink 4 within 8 GPUs; 400 Gbit/s of network a GPU
TPU_V5P = Accelerator("TPU v5p", 459e12, 8960, 300e9, 300e9)  # 600 GB/s of links, both directions together
PREDICTED = (H100, TPU_V5P)

PAPERS_CHIP = TPU_V4  # Appendix B: 64 of them
