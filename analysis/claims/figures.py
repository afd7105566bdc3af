"""The claims of Figures 5 to 15, of which the paper prints counts and best settings alone."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.claims.build import count, number, ordering
from analysis.claims.primary import fall
from analysis.lib.claims import Claim
from analysis.lib.measures import Flat, OverSets, Peak
from analysis.lib.significance import average, difference
from analysis.lib.verdicts import MARGIN
from can.commands.spec import Spec
from experiments import figure5_few_shot, figure6_robustness, figure7_masking, figure8_weights


def _counted(place: str, metric: str, evaluation: str) -> str:
    """A count of sets that the paper prints, as `6 of 7 sets`; empty without a metric."""
    of = count("Sec. 4.3" if evaluation == "few_shot" else "Figure 6", f"{evaluation}_datasets")
    return f"{count(place, metric)} of {of} sets" if metric else ""


def few_shot() -> list[Claim]:
    """Figures 5 and 11 to 15, and what App. A says of them: by the mean over the sets, which the paper counts."""
    item, runs = "figure5_few_shot", figure5_few_shot.RUNS
    can = {figure: next(spec for spec in specs if spec.method == "can") for figure, specs in runs.items()}

    def over(
        text: str, place: str, above: Spec, below: Sequence[Spec], shots: int, counted: str = "", *, equal: bool = False
    ) -> Claim:
        """`counted`: the metric of the paper's count of sets."""
        measure = OverSets(above, tuple(below), "few_shot", rf"(.*)/{shots}shot", equal)
        printed = _counted("App. A", counted, "few_shot")
        return Claim(place, f"With {shots} shots {text}", item, measure, printed=printed)

    def others(figure: str, *methods: str) -> list[Spec]:
        return [spec for spec in runs[figure] if spec.method in methods]

    best = "CAN is above MAE and SimCLR"
    ten, twenty_five = "few_shot_10_wins_over_mae_and_simclr", "few_shot_25_wins_over_mae"
    over_in1k = "few_shot_25_wins_over_in1k_pretraining"
    both = ("mae", "simclr")
    return [
        over(f"{best} after IN-1K pre-training", "App. A", can["15"], others("15", *both), 10, ten),
        over(
            "CAN is no better than MAE after IN-1K pre-training (a limitation)",
            "App. A",
            can["15"],
            others("15", "mae"),
            25,
            twenty_five,
            equal=True,
        ),
        over("uncurated pre-training is above IN-1K's for CAN", "App. A", can["12"], [can["15"]], 25, over_in1k),
        over("a larger encoder helps CAN", "App. A", can["12"], [can["14"]], 25),
        *(
            over(f"{best}, {name}", f"Figure {figure}", can[figure], others(figure, *both), shots)
            for figure, name in (("5", "ViT-L 5000"), ("12", "ViT-L 800"), ("13", "ViT-L 1600"), ("14", "ViT-B 800"))
            for shots in ((10, 25) if figure == "5" else (25,))
        ),
    ]


def robustness() -> list[Claim]:
    """Figures 6, 9 and 10: by the mean over the sets, which the paper counts."""
    item, runs = "figure6_robustness", figure6_robustness.RUNS
    supervised, pyramid_at = figure6_robustness.SUPERVISED

    def over(text: str, panel: str, below: str | Spec, counted: str = "", said: str = "") -> Claim:
        """`counted`: the metric of the paper's count of sets; `said`: what its text says instead."""
        by_method = {spec.method: spec for spec in runs[panel]}
        place = f"Figure {panel.split()[0]}"
        other = by_method[below] if isinstance(below, str) else below
        measure = OverSets(by_method["can"], (other,), "robustness", r"([^/]*)/top1")
        return Claim(place, text, item, measure, printed=_counted(place, counted, "robustness") or said)

    tuned, nearly = "A finetuned CAN ViT-B is more robust than", "nearly all cases"
    return [
        over("CAN is more robust than SimCLR, ViT-L 5000", "6 left", "simclr", said=nearly),
        over("CAN is more robust than MAE, ViT-L 5000", "6 left", "mae", said=nearly),
        over("CAN is more robust than SimCLR after IN-1K pre-training", "6 right", "simclr", said=nearly),
        over("CAN is more robust than MAE after IN-1K pre-training", "6 right", "mae", said=nearly),
        over(f"{tuned} PyramidAT", "10 top", pyramid_at, "robustness_wins_over_pyramidat"),
        over(f"{tuned} training from scratch", "10 top", supervised),
    ]


def figure_7() -> list[Claim]:
    """The rate of masking; that masking harms SimCLR on IN-1K is one of the primary claims."""
    item, claims = "figure7_masking", []
    for panel, name in (("left", "IN-1K"), ("right", "uncurated")):
        can = dict(zip(figure7_masking.RATES, figure7_masking.RUNS[panel]["can"], strict=True))
        inner = tuple(can[rate] for rate in can if 0 < rate < max(can))
        mae_rate, own_rate = 0.75, 0.5
        less = tuple(can[rate] for rate in can if rate < mae_rate)
        claims += [
            Claim("Figure 7", f"CAN is best at a rate of masking above 0 ({name})", item, Peak(inner, can[0.0])),
            Claim("Figure 7", f"CAN is best below MAE's rate of 75 % ({name})", item, Peak(less, can[mae_rate])),
            Claim(
                "Sec. 5",
                f"Half masking pays: at equal epochs it changes CAN by less than {MARGIN:g} point ({name})",
                item,
                Flat((can[0.0], can[own_rate]), MARGIN),
            ),
        ]
    return [
        *claims,
        ordering("Figure 7", "Masking harms SimCLR (uncurated), linear trend", item, fall("right", "simclr")),
    ]


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
            f"The denoising weight hardly matters: less than {MARGIN:g} point",
            item,
            Flat(tuple(figure8_weights.SWEEPS["lambda_reconstruct"]), MARGIN),
        ),
    ]
