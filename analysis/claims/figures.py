"""The claims of Figures 5 to 15, of which the paper prints counts and best settings alone."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.claims.build import count, number, ordering
from analysis.lib.claims import Claim, Flat, Peak, Wins
from analysis.lib.statistics import average, difference
from experiments import figure5_few_shot, figure6_robustness, figure7_masking, figure8_weights

INSENSITIVE = 1.0  # points: what "not sensitive" is taken to mean, since Figure 8 has no numbers


def few_shot() -> list[Claim]:
    """Figures 5 and 11 to 15, and what App. A says of them."""
    item, runs = "figure5_few_shot", figure5_few_shot.RUNS

    def wins(place: str, text: str, figure: str, shots: int, needed: str | int, methods: Sequence[str]) -> Claim:
        by_method = {spec.method: spec for spec in runs[figure]}
        least = needed if isinstance(needed, int) else count(place, needed)
        others = tuple(by_method[method] for method in methods)
        measure = Wins(by_method["can"], others, least, sets, "few_shot", rf"(.*)/{shots}shot")
        return Claim(place, text, item, measure, None if isinstance(needed, int) else least)

    both, sets = ("mae", "simclr"), count("Sec. 4.3", "few_shot_datasets")
    most = sets // 2 + 1
    can_jft, can_in1k = (next(spec for spec in runs[figure] if spec.method == "can") for figure in ("12", "15"))
    more = count("App. A", "few_shot_25_wins_over_in1k_pretraining")
    return [
        wins(
            "App. A",
            "With 10 shots CAN is above MAE and SimCLR on 8 of 9 sets (IN-1K)",
            "15",
            10,
            "few_shot_10_wins_over_mae_and_simclr",
            both,
        ),
        wins(
            "App. A",
            "With 25 shots CAN is above MAE on 5 of 9 sets (IN-1K)",
            "15",
            25,
            "few_shot_25_wins_over_mae",
            ("mae",),
        ),
        Claim(
            "App. A",
            "With 25 shots uncurated pre-training is above IN-1K's for CAN on 6 of 9 sets",
            item,
            Wins(can_jft, (can_in1k,), more, sets, "few_shot", r"(.*)/25shot"),
            more,
        ),
        wins("Figure 5", "With 10 shots CAN is best on most sets, ViT-L 5000", "5", 10, most, both),
        wins("Figure 5", "With 25 shots CAN is best on most sets, ViT-L 5000", "5", 25, most, both),
        wins("Figure 14", "With 25 shots CAN is best on most sets, ViT-B 800", "14", 25, most, both),
    ]


def robustness() -> list[Claim]:
    """Figures 6, 9 and 10."""
    item, runs = "figure6_robustness", figure6_robustness.RUNS
    tops, sets = r"([^/]*)/top1", count("Figure 6", "robustness_datasets")
    most = sets // 2 + 1
    supervised, pyramid_at = figure6_robustness.SUPERVISED

    def wins(place: str, text: str, panel: str, method: str) -> Claim:
        by_method = {spec.method: spec for spec in runs[panel]}
        measure = Wins(by_method["can"], (by_method[method],), most, sets, "robustness", tops)
        return Claim(place, text, item, measure)

    can_b = next(spec for spec in runs["10 top"] if spec.method == "can")
    needed = count("Figure 10", "robustness_wins_over_pyramidat")
    return [
        wins("Figure 6", "CAN is more robust than SimCLR on most of 7 sets, ViT-L 5000", "6 left", "simclr"),
        wins("Figure 6", "CAN is more robust than MAE on most of 7 sets, ViT-L 5000", "6 left", "mae"),
        wins("Figure 6", "CAN is more robust than SimCLR on most of 7 sets, IN-1K", "6 right", "simclr"),
        wins("Figure 6", "CAN is more robust than MAE on most of 7 sets, IN-1K", "6 right", "mae"),
        Claim(
            "Figure 10",
            "A finetuned CAN ViT-B is more robust than PyramidAT on 6 of 7 sets",
            item,
            Wins(can_b, (pyramid_at,), needed, sets, "robustness", tops),
            needed,
        ),
        Claim(
            "Figure 10",
            "A finetuned CAN ViT-B is more robust than training from scratch on most of 7 sets",
            item,
            Wins(can_b, (supervised,), most, sets, "robustness", tops),
        ),
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
