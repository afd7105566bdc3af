"""The claims of Figures 5 to 15, of which the paper prints counts and best settings alone."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.claims.build import count, number, ordering
from analysis.lib.claims import Claim, Flat, Peak, Wins
from analysis.lib.significance import average, difference
from can.commands.spec import Spec
from experiments import figure5_few_shot, figure6_robustness, figure7_masking, figure8_weights

INSENSITIVE = 1.0  # points: what "not sensitive" is taken to mean, since Figure 8 has no numbers


def few_shot() -> list[Claim]:
    """Figures 5 and 11 to 15, and what App. A says of them."""
    item, runs = "figure5_few_shot", figure5_few_shot.RUNS
    sets = count("Sec. 4.3", "few_shot_datasets")
    can = {figure: next(spec for spec in specs if spec.method == "can") for figure, specs in runs.items()}

    def wins(text: str, figure: str, below: Sequence[Spec], shots: int, counted: str = "") -> Claim:
        """By the paper's count, or else on most sets."""
        needed = count("App. A", counted) if counted else sets // 2 + 1
        on = f"on {needed} of {sets} sets" if counted else f"on most of {sets} sets"
        measure = Wins(can[figure], tuple(below), needed, sets, "few_shot", rf"(.*)/{shots}shot")
        place = "App. A" if counted else f"Figure {figure}"
        return Claim(place, f"With {shots} shots {text} {on}", item, measure, needed if counted else None)

    def others(figure: str, *methods: str) -> list[Spec]:
        return [spec for spec in runs[figure] if spec.method in methods]

    best = "CAN is above MAE and SimCLR"
    ten, twenty_five = "few_shot_10_wins_over_mae_and_simclr", "few_shot_25_wins_over_mae"
    over_in1k = "few_shot_25_wins_over_in1k_pretraining"
    return [
        wins(f"{best} after IN-1K pre-training", "15", others("15", "mae", "simclr"), 10, ten),
        wins("CAN is above MAE after IN-1K pre-training", "15", others("15", "mae"), 25, twenty_five),
        wins("uncurated pre-training is above IN-1K's for CAN", "12", [can["15"]], 25, over_in1k),
        wins(f"{best}, ViT-L 5000", "5", others("5", "mae", "simclr"), 10),
        wins(f"{best}, ViT-L 5000", "5", others("5", "mae", "simclr"), 25),
        wins(f"{best}, ViT-B 800", "14", others("14", "mae", "simclr"), 25),
    ]


def robustness() -> list[Claim]:
    """Figures 6, 9 and 10."""
    item, runs = "figure6_robustness", figure6_robustness.RUNS
    sets = count("Figure 6", "robustness_datasets")
    supervised, pyramid_at = figure6_robustness.SUPERVISED

    def wins(text: str, panel: str, below: str | Spec, counted: str = "") -> Claim:
        """By the paper's count, or else on most sets."""
        by_method = {spec.method: spec for spec in runs[panel]}
        place = f"Figure {panel.split()[0]}"
        needed = count(place, counted) if counted else sets // 2 + 1
        on = f"on {needed} of {sets} sets" if counted else f"on most of {sets} sets"
        other = by_method[below] if isinstance(below, str) else below
        measure = Wins(by_method["can"], (other,), needed, sets, "robustness", r"([^/]*)/top1")
        return Claim(place, f"{text} {on}", item, measure, needed if counted else None)

    tuned = "A finetuned CAN ViT-B is more robust than"
    return [
        wins("CAN is more robust than SimCLR, ViT-L 5000,", "6 left", "simclr"),
        wins("CAN is more robust than MAE, ViT-L 5000,", "6 left", "mae"),
        wins("CAN is more robust than SimCLR after IN-1K pre-training", "6 right", "simclr"),
        wins("CAN is more robust than MAE after IN-1K pre-training", "6 right", "mae"),
        wins(f"{tuned} PyramidAT", "10 top", pyramid_at, "robustness_wins_over_pyramidat"),
        wins(f"{tuned} training from scratch", "10 top", supervised),
    ]


def figure_7() -> list[Claim]:
    """The rate of masking."""
    item, claims = "figure7_masking", []
    for panel, name in (("left", "IN-1K"), ("right", "uncurated")):
        can, simclr = (
            dict(zip(figure7_masking.RATES, figure7_masking.RUNS[panel][method], strict=True))
            for method in ("can", "simclr")
        )
        masked = [difference(simclr[0.0], simclr[rate]) for rate in simclr if rate]
        inner = tuple(can[rate] for rate in can if 0 < rate < max(can))
        mae_rate = 0.75
        less = tuple(can[rate] for rate in can if rate < mae_rate)
        claims += [
            ordering("Figure 7", f"Masking harms SimCLR ({name}), mean of all rates", item, average(masked)),
            Claim("Figure 7", f"CAN is best at a rate of masking above 0 ({name})", item, Peak(inner, can[0.0])),
            Claim("Figure 7", f"CAN is best below MAE's rate of 75 % ({name})", item, Peak(less, can[mae_rate])),
        ]
    return claims


def figure_8() -> list[Claim]:
    """CAN's weights and noise."""
    item, place = "figure8_weights", "Figure 8"
    weights = dict(zip(figure8_weights.WEIGHTS, figure8_weights.SWEEPS["lambda_infonce"], strict=True))
    sigmas = dict(zip(figure8_weights.SIGMAS, figure8_weights.SWEEPS["sigma_max"], strict=True))
    best_weight, best_sigma = (number("Sec. 5", metric) for metric in ("lambda_infonce", "sigma_max"))
    return [
        ordering(
            place,
            "A small contrastive weight is best: .03 is above the mean of the others",
            item,
            average(
                [difference(weights[best_weight], row) for weight, row in weights.items() if weight != best_weight]
            ),
        ),
        ordering(
            place,
            "A wide range of noise is better than none, mean of all",
            item,
            average([difference(row, sigmas[0.0]) for sigma, row in sigmas.items() if sigma]),
        ),
        ordering(
            place,
            "The largest noise of .05 is above the mean of the other ones",
            item,
            average(
                [difference(sigmas[best_sigma], row) for sigma, row in sigmas.items() if sigma not in (0, best_sigma)]
            ),
        ),
        Claim(
            place,
            f"The denoising weight hardly matters: less than {INSENSITIVE:g} point",
            item,
            Flat(tuple(figure8_weights.SWEEPS["lambda_reconstruct"]), INSENSITIVE),
        ),
    ]
