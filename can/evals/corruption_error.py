"""Mean corruption error (Hendrycks & Dietterich, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# AlexNet's top-1 error on ImageNet-C, averaged over the five severities, from the authors' release.
ALEXNET_ERROR = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}


def mean_corruption_error(
    accuracies: Mapping[str, Sequence[float]], baseline: Mapping[str, float] = ALEXNET_ERROR
) -> float:
    """mCE: the mean over corruptions of (the error summed over severities / the baseline's); 1 is as bad as it.

    Args:
      accuracies: for each corruption the accuracy, in [0, 1], at each severity.
      baseline: for each corruption the baseline's mean error over the severities.
    """
    errors = {name: 1 - sum(values) / len(values) for name, values in accuracies.items()}
    return sum(error / baseline[name] for name, error in errors.items()) / len(errors)
