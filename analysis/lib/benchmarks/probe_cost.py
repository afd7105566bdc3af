"""What a linear probe by the paper's protocol costs beside the pre-training that it judges."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.lib.benchmarks.accelerators import PAPERS_CHIP
from analysis.lib.benchmarks.scaling import papers_share_of_peak
from analysis.lib.documents import to_markdown
from analysis.lib.paper_training import flops_per_image, read_counts
from can.commands.scales import IN1K_IMAGES, MODEL_ROLES, scale_named

CHIPS = 64  # of the paper's run (Appendix B)
EPOCHS = (100, 800, 5000)


def table(published: Path) -> str:
    """A row an encoder and a length of CAN's pre-training, on the paper's TPUs at the share of their peak that it had.

    Of the probe, every training image is encoded once an epoch; its own layer and the test images are 1 in 1000.
    """
    probe = scale_named("paper").linear_probe
    speed = CHIPS * PAPERS_CHIP.flops_per_s * papers_share_of_peak()  # FLOP/s
    probe_images = IN1K_IMAGES * probe.epochs
    lines = []
    for encoder in MODEL_ROLES.values():
        encoding, training_step = encoder_flops(published, encoder), flops_per_image(published, encoder)
        probing = probe_images * encoding
        for epochs in EPOCHS:
            training = epochs * IN1K_IMAGES * training_step
            lines.append(
                {
                    "Encoder": encoder,
                    "Pre-training epochs": epochs,
                    "Pre-training, h": f"{training / speed / 3600:.1f}",
                    "Probe, h": f"{probing / speed / 3600:.1f}",
                    "Probe of pre-training": f"{probing / training:.1%}",
                    "Images/s to decode": f"{speed / encoding:,.0f}",
                }
            )
    where = f"On {CHIPS} {PAPERS_CHIP.name}, by operations; {probe.epochs:g} epochs of the probe."
    return f"{to_markdown(pd.DataFrame(lines))}\n\n{where}"


def encoder_flops(published: Path, encoder: str) -> float:
    """Of the forward pass of one whole view. SimCLR encodes two of an image; a multiply-add is two operations."""
    counts = read_counts(published / "flops.csv")
    whole = (counts["method"] == "simclr") & (counts["mask_rate"] == 0)
    (macs,) = counts[whole & (counts["encoder"] == encoder.removeprefix("ViT-"))]["encoder_macs"]
    views, operations = 2, 2
    return float(macs) * operations / views
