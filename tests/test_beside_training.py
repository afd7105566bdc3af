"""What is seen while a run trains: right numbers, at the right steps, that change none of the training's."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from test_train import tiny_config

from can import data, train, trained
from can.config import AugmentConfig, KnnConfig
from can.errors import ConfigError, DataError
from can.evals import knn
from can.evals.beside_training import BesideTraining
from can.evals.collapse import effective_rank, spread
from can.evals.encoder import Encoder, extract_features
from can.runs import RunDir
from can.runs.beside import COLUMNS
from can.runs.profile import Operation, busy_time, own_time


def rows_of(run: RunDir) -> list[dict[str, str]]:
    rows = list(csv.DictReader((run.results / "train.csv").open()))
    for row in rows:
        del row["images_per_second"]
    return rows


def test_looks_and_a_trace_change_no_number_of_the_training(
    tmp_path: Path, one_training_step: None, caplog: pytest.LogCaptureFixture
) -> None:
    """To the bit: every row, and all of the state; and the last look is an evaluation's own numbers."""
    config = dataclasses.replace(tiny_config("simclr", total_steps=4), augment=AugmentConfig("none"))  # compiles sooner
    images = data.load("smoke", "train", data_dir=tmp_path)
    plain, seen = (RunDir(tmp_path / name, tmp_path / name, "smoke", name) for name in ("plain", "seen"))
    expected = train.pretrain(config, plain, images, log_every=1)
    with caplog.at_level("INFO", logger="absl"):
        found = train.pretrain(config, seen, images, log_every=1, beside=BesideTraining(images, 3), profile=(2, 3))
    assert re.search(r"steps 2 to 3: [\d.]+ ms a step, \d+% .*\n.*\n(.*%.* ms .*\n)+", caplog.text)
    assert list((seen.work / "profile").rglob("*.xplane.pb"))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    rows = rows_of(seen)
    assert [{name: row[name] for name in row if name not in COLUMNS} for row in rows] == rows_of(plain)
    assert [[name for name in COLUMNS if row[name]] for row in rows] == [[], [], [*COLUMNS], [*COLUMNS]]

    encoder = Encoder.from_model(trained.load_encoder(config, seen))
    known, asked = images.take("known", [(0, 170)]), images.take("asked", [(170, 255)])
    assert float(rows[-1]["knn_top1"]) == pytest.approx(knn.evaluate(encoder, known, asked, KnnConfig())["top1"])
    features = np.concatenate([extract_features(encoder, part)[0] for part in (known, asked)])
    assert float(rows[-1]["effective_rank"]) == pytest.approx(effective_rank(features), rel=1e-6)
    assert 0 < float(rows[-1]["projection_spread"]) <= 1


def test_the_time_of_an_operation_is_its_own_and_what_runs_side_by_side_is_counted_once() -> None:
    thread = [Operation("while.1", 0, 100), Operation("dot.3", 10, 40), Operation("dot.12", 50, 60)]
    other = [Operation("dot.3", 90, 130), Operation("copy_fusion.2", 150, 160)]
    assert own_time([thread, other]) == {"while": 60, "dot": 30 + 10 + 40, "copy_fusion": 10}
    assert busy_time([thread, other]) == 130 + 10


def test_the_effective_rank_is_the_number_of_dimensions_that_features_fill() -> None:
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(50, 8)))
    assert effective_rank(basis) == pytest.approx(8, abs=1e-3)
    assert effective_rank(basis[:, :3] @ np.eye(3, 8)) == pytest.approx(3, abs=1e-3)
    assert effective_rank(np.outer(rng.normal(size=50), rng.normal(size=8))) == pytest.approx(1, abs=1e-3)
    values = np.linalg.svd(features := rng.normal(size=(40, 6)), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(features) == pytest.approx(np.prod(shares**-shares), rel=1e-4)


def test_the_spread_is_one_of_directions_everywhere_and_zero_of_one() -> None:
    directions = np.random.default_rng(0).normal(size=(20_000, 16))
    assert spread(directions / np.linalg.norm(directions, axis=1, keepdims=True)) == pytest.approx(1, abs=0.01)
    assert spread(np.repeat(directions[:1], 10, axis=0)) == pytest.approx(0, abs=1e-12)


def test_looks_need_labels_and_enough_images(tmp_path: Path) -> None:
    images = data.load("smoke", "train", data_dir=tmp_path)
    with pytest.raises(DataError, match="--probe_every needs labelled images of two classes or more, .* has none"):
        BesideTraining(images.without_labels(), 1)
    with pytest.raises(ConfigError, match="20 neighbours among 8 images: pass a smaller --knn_k"):
        BesideTraining(images.take("train[:12]", [(0, 12)]), 1)
