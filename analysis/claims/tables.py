"""The claims of Tables 1 to 4, of Figure 4, whose numbers the text prints, and of the costs."""

from __future__ import annotations

import dataclasses

from analysis import make_flops
from analysis.claims.build import ABOVE_SIMCLR, gain, in1k, jft, lower, number, ordering, printed_difference
from analysis.lib.claims import Claim
from analysis.lib.measures import ERROR, NATS, PERCENT, TIMES, Cost, Difference
from analysis.lib.paper import paper_values
from analysis.lib.significance import Contrast, average, difference
from can.commands.setting import PUBLISHED
from can.commands.spec import Spec
from experiments import table1_denoising, table4_complementarity

ROUNDED_TO = {"70": 5.0, "41": 0.5}  # half of the last digit that the paper gives; 70 is taken to be rounded to tens


def table_1() -> list[Claim]:
    """What each part of the denoising brings."""
    rows, item, place = table1_denoising.VARIANTS, "table1_denoising", "Table 1"
    return [
        ordering(place, "Noise on the input helps CAN", item, difference(rows["+noise"], rows["None"])),
        ordering(
            place,
            "A denoising loss without the noise level is worse than noise alone",
            item,
            difference(rows["+noise"], rows["+noise, +loss"]),
        ),
        ordering(
            place,
            "The denoising loss needs the noise level",
            item,
            difference(rows["Full"], rows["+noise, +loss"]),
        ),
        ordering(place, "Predicting the noise adds to having it", item, difference(rows["Full"], rows["+noise"])),
    ]


def table_2() -> list[Claim]:
    """Linear probes after uncurated pre-training, and what Figure 1 says of both sets."""
    can, simclr, mae = (
        {epochs: jft(method, "vit_l", epochs) for epochs in (800, 1600, 3000, 5000)}
        for method in ("can", "simclr", "mae")
    )
    small = {method: jft(method, "vit_b", 800) for method in ("can", "simclr")}
    place, item, probe = "Table 2", "table2_jft", "after uncurated pre-training, by linear probe"

    def claim(text: str, contrast: Contrast, *, read: bool = False) -> Claim:
        return ordering(place, text, item, contrast, read=read)

    more_over_simclr = Difference(
        gain(difference(can[800], simclr[800]), difference(in1k("can", "vit_l", 800), in1k("simclr", "vit_l", 800)))
    )
    return [
        claim(f"CAN is above SimCLR {probe}, ViT-L 5000", difference(can[5000], simclr[5000])),
        claim(f"CAN is above MAE {probe}, ViT-L 5000", difference(can[5000], mae[5000])),
        claim(f"SimCLR is above MAE {probe}, ViT-L 5000", difference(simclr[5000], mae[5000]), read=True),
        claim(
            "SimCLR is above MAE at equal epochs, mean of two pairs",
            average([difference(simclr[epochs], mae[epochs]) for epochs in (1600, 5000)]),
            read=True,
        ),
        claim("Longer pre-training helps CAN, 800 to 5000", difference(can[5000], can[800]), read=True),
        claim("Longer pre-training helps SimCLR, 800 to 5000", difference(simclr[5000], simclr[800]), read=True),
        claim("Longer pre-training helps MAE, 1600 to 5000", difference(mae[5000], mae[1600]), read=True),
        claim(
            "CAN gains more than SimCLR from longer pre-training, 800 to 5000",
            gain(difference(can[5000], can[800]), difference(simclr[5000], simclr[800])),
        ),
        claim("A larger encoder helps CAN, 800 epochs", difference(can[800], small["can"]), read=True),
        claim("A larger encoder helps SimCLR, 800 epochs", difference(simclr[800], small["simclr"]), read=True),
        Claim(
            "Figure 1",
            "CAN's lead over SimCLR is larger on uncurated data, ViT-L 800 (the paper's own tables say otherwise)",
            "figure1_scaling",
            more_over_simclr,
            printed_difference(more_over_simclr, "Table 2", "Table 3"),
        ),
        ordering(
            "Sec. 4.1",
            "MAE falls from IN-1K to uncurated pre-training, ViT-L 800",
            "figure1_scaling",
            difference(in1k("mae", "vit_l", 800), mae[800]),
        ),
    ]


def table_3() -> list[Claim]:
    """Pre-training on IN-1K."""
    place, item = "Table 3", "table3_in1k"
    can_b, can_b_long, can_l = in1k("can", "vit_b", 800), in1k("can", "vit_b", 1600), in1k("can", "vit_l", 800)
    mae_b, mae_b_long, mae_l = in1k("mae", "vit_b", 800), in1k("mae", "vit_b", 1600), in1k("mae", "vit_l", 800)
    simclr_b, simclr_l = in1k("simclr", "vit_b", 800), in1k("simclr", "vit_l", 800)

    def probed(text: str, above: Spec, below: Spec, *, read: bool = True) -> Claim:
        return ordering(place, f"{text}, by linear probe on IN-1K", item, difference(above, below), read=read)

    def tuned(text: str, above: Spec, below: Spec, *, read: bool = True) -> Claim:
        contrast = difference(above, below)
        return ordering(place, f"{text}, by finetuning on IN-1K", item, contrast, "finetune", read=read)

    he_et_al = next(
        value.value
        for value in paper_values()
        if (value.place, value.source, value.architecture) == (place, "He et al. (2022)", "ViT-L")
        and value.metric == "finetune_top1"
    )
    simclr_other = probed("CAN is above SimCLR, ViT-B 800", can_b, simclr_b, read=False)
    return [
        probed("CAN is above MAE, ViT-B 1600", can_b_long, mae_b_long, read=False),
        dataclasses.replace(simclr_other, paper=ABOVE_SIMCLR, place="Abstract, other version"),
        probed("CAN is above SimCLR, ViT-L 800", can_l, simclr_l, read=False),
        probed("CAN is above MAE, ViT-L 800", can_l, mae_l, read=False),
        probed("SimCLR is above MAE, ViT-L 800", simclr_l, mae_l),
        probed("Longer pre-training helps CAN ViT-B, 800 to 1600", can_b_long, can_b),
        probed("A larger encoder helps CAN, 800 epochs", can_l, can_b),
        tuned("CAN is above MAE, ViT-B 800", can_b, mae_b),
        tuned("CAN is above SimCLR, ViT-L 800", can_l, simclr_l),
        tuned(f"CAN is above MAE, ViT-L 800 (the paper's own; He et al.'s {he_et_al} is above CAN's)", can_l, mae_l),
        tuned("Longer pre-training helps CAN ViT-B, 800 to 1600", can_b_long, can_b),
        tuned("A larger encoder helps CAN, 800 epochs", can_l, can_b),
    ]


def table_4() -> list[Claim]:
    """Whether contrasting and reconstructing help each other."""
    simclr, mae, can = table4_complementarity.RUNS
    place, item = "Table 4", "table4_complementarity"
    where = "(of held-out views; the paper's is of training)"
    return [
        lower(
            place,
            f"Training with both lowers the contrastive loss {where}",
            item,
            can,
            simclr,
            "infonce",
            NATS,
        ),
        lower(
            place,
            f"Training with both lowers the reconstruction loss {where}",
            item,
            can,
            mae,
            "reconstruct",
            ERROR,
        ),
    ]


def figure_4() -> list[Claim]:
    """Finetuning after uncurated pre-training."""
    item = "figure4_finetuning"
    can, simclr, mae = (
        {epochs: jft(method, "vit_l", epochs) for epochs in (800, 1600, 5000)} for method in ("can", "simclr", "mae")
    )

    def tuned(place: str, text: str, contrast: Contrast, *, read: bool = False) -> Claim:
        return ordering(place, text, item, contrast, "finetune", read=read)

    after = "by finetuning after uncurated pre-training, ViT-L 5000"
    return [
        tuned("Sec. 4.1", f"CAN is above SimCLR {after}", difference(can[5000], simclr[5000])),
        tuned("Sec. 4.1", f"CAN is above MAE {after}", difference(can[5000], mae[5000])),
        tuned("Sec. 4.1", f"SimCLR is above MAE {after}", difference(simclr[5000], mae[5000]), read=True),
        tuned("Figure 4", "Longer pre-training helps CAN's finetuning, 800 to 5000", difference(can[5000], can[800])),
        tuned(
            "Figure 4",
            "CAN's finetuning gains more than SimCLR's from longer pre-training, 800 to 5000",
            gain(difference(can[5000], can[800]), difference(simclr[5000], simclr[800])),
        ),
        tuned(
            "Figure 4",
            "CAN's finetuning gains more than MAE's from longer pre-training, 1600 to 5000",
            gain(difference(can[5000], can[1600]), difference(mae[5000], mae[1600])),
        ),
    ]


def costs() -> list[Claim]:
    """What follows from shapes, and from the hours that the paper prints."""

    def steps() -> dict[str, float]:
        counts = make_flops.read_counts(PUBLISHED / "flops.csv")
        usual = counts[
            (counts["encoder"] == "L") & (counts["mask_rate"] == counts["method"].map(make_flops.USUAL_RATE))
        ]
        return dict(zip(usual["method"], usual["forward_macs"].astype(float), strict=True))

    more, fewer = number("Sec. 1", "flops_above_can"), number("Sec. 4.1", "flops_below_simclr")
    hours = {name: number("App. B", "training_time", name) for name in ("CAN", "DnC")}
    tpus = {name: number("App. B", "tpus", name) for name in ("CAN", "DnC")}
    faster = number("Sec. 4.1", "speed_over_dnc_r50")
    return [
        Claim(
            "Sec. 1",
            "SimCLR ViT-L takes 70 % more operations than CAN",
            "",
            Cost(lambda: 100 * (steps()["simclr"] / steps()["can"] - 1), more, ROUNDED_TO[f"{more:g}"], PERCENT),
            more,
        ),
        Claim(
            "Sec. 4.1",
            "CAN ViT-L takes 41 % fewer operations than SimCLR",
            "",
            Cost(lambda: 100 * (1 - steps()["can"] / steps()["simclr"]), fewer, ROUNDED_TO[f"{fewer:g}"], PERCENT),
            fewer,
        ),
        Claim(
            "App. B",
            "CAN ViT-L trains 3 times as fast as DnC's ResNet-50, by the paper's hours of TPUs",
            "",
            Cost(lambda: hours["DnC"] * tpus["DnC"] / (hours["CAN"] * tpus["CAN"]), faster, 0.5, TIMES),
            faster,
        ),
    ]
