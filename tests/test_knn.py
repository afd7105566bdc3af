"""Nearest neighbours decide as scikit-learn's do, and a command measures them on any labelled set."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands import Commands
from sklearn.neighbors import KNeighborsClassifier

from can.config import KnnConfig
from can.evals import knn


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_predictions_are_scikit_learns(k: int, temperature: float) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 8))
    labels, truth = rng.integers(0, 4, 300), rng.integers(0, 4, 1500)  # more than one part of ROWS
    known, asked = ((2 + centres[at] + 2 * rng.normal(size=(len(at), 8))).astype(np.float32) for at in (labels, truth))
    found = knn.predict(known, labels, asked, KnnConfig(k=k, temperature=temperature), 4)
    theirs = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / temperature)
    ).fit(known, labels)
    agreement = (found == theirs.predict(asked)).mean()
    assert agreement >= 0.999  # float32 may break a tie otherwise
    assert 0.35 < (found == truth).mean() < 0.95  # neither trivial nor chance


def test_a_command_measures_neighbours(commands: Commands, tmp_path: Path) -> None:
    flags = ["--scale=smoke", "--method=random", "--epochs=0", "--model=nano", "--eval=knn"]
    places = [f"--results_dir={tmp_path}/r", f"--workdir={tmp_path}/w", f"--data_dir={tmp_path}"]
    made = commands("experiments/pretrain.py", *flags[:4], *places)
    assert made.returncode == 0, made.stderr
    done = commands("experiments/evaluate.py", *flags, *places)
    assert done.returncode == 0, done.stderr
    assert re.search(r"knn top1 0\.\d+ \(n = 256\)", done.stdout)
    refused = commands("experiments/evaluate.py", *flags, *places, "--knn_k=9999", "--force=knn")
    assert refused.returncode == 1 and "pass a smaller --knn_k" in refused.stderr
