"""Nearest neighbours of a run's features, on the labelled data of its scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from can import trained
from can.commands.evaluations import labelled
from can.commands.evaluations.records import records_of
from can.commands.setting import Run, Setting
from can.data import ImageSet
from can.evals import knn
from can.evals.encoder import Encoder
from can.runs import EvalRecord


class NearestNeighbours:
    """See `can.evals.knn`; features are those that the linear probe keeps."""

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """The scale's, and the splits."""
        return {"name": "knn"} | labelled.described(setting) | dataclasses.asdict(setting.scale.knn)

    def images(self, setting: Setting) -> dict[str, ImageSet]:
        """The labelled splits."""
        return labelled.load(setting)

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """The neighbours by the frozen encoder; features are kept where the scale's linear probe keeps them."""
        encoder = Encoder.from_model(trained.load_encoder(run.config, run.folder))
        cache = run.folder.work / "features" if setting.scale.linear_probe.cache_features else None
        splits = labelled.train_and_test(setting, dict(images))
        return records_of(knn.evaluate(encoder, *splits, setting.scale.knn, cache_dir=cache), run)
