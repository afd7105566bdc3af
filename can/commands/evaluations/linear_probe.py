"""The linear probe of a run, on the labelled data of its scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from can import trained
from can.commands.evaluations import labelled
from can.commands.evaluations.records import records_of
from can.commands.scales import SCALES
from can.commands.setting import Run, Setting
from can.data import ImageSet
from can.evals import linear_probe as probe
from can.evals.encoder import Encoder
from can.evals.probe_progress import Kept
from can.runs import EvalRecord


class LinearProbe:
    """See `can.evals.linear_probe`."""

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """The scale's, and the splits; how small sets are trained on where it can matter."""
        stated = dataclasses.asdict(setting.scale.linear_probe)
        usual = SCALES[setting.scale.name]
        if not stated["epoch_images"] or (
            (setting.labelled, setting.train_split) == (usual.data["in1k"], "train")
            and stated["epoch_images"] == usual.linear_probe.epoch_images
        ):
            del stated["epoch_images"]  # of the scale's own images an epoch is no shorter
        return {"name": "linear_probe"} | labelled.described(setting) | stated

    def images(self, setting: Setting) -> dict[str, ImageSet]:
        """The labelled splits."""
        return labelled.load(setting)

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """The probe of the frozen encoder; features, or else checkpoints of its training, are kept."""
        protocol = setting.scale.linear_probe
        encoder = Encoder.from_model(trained.load_encoder(run.config, run.folder))
        cache = run.folder.work / "features" if protocol.cache_features else None
        scale = setting.scale
        kept = Kept(run.folder.work / "linear_probe", scale.checkpoint_every, scale.checkpoint_seconds)
        splits = labelled.train_and_test(setting, dict(images))
        found = probe.evaluate(encoder, *splits, protocol, seed=run.config.seed, cache_dir=cache, kept=kept)
        return records_of(found, run)
