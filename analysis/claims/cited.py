"""The claims of CAN beside the methods that Table 3 quotes, and beside what Sec. 3.6 expects to help it."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

from analysis.claims.build import in1k, ordering, printed_difference
from analysis.lib.claims import Claim
from analysis.lib.measures import Difference
from analysis.lib.significance import Contrast, average, difference
from analysis.make_table3 import PRINTED_EPOCHS
from can.commands.methods import preset
from can.commands.spec import Spec


def cited() -> list[Claim]:
    """By linear probe after pre-training on IN-1K; all methods have CAN's encoder here, and had their own there."""
    can, longer = in1k("can", "vit_b", 800), in1k("can", "vit_b", 1600)
    masked = [in1k("simmim", "vit_b", 800), in1k("beit", "vit_b", 800), in1k("cim", "vit_b", 300)]
    cae = [difference(one, in1k("cae", "vit_b", one.epochs)) for one in (can, longer)]
    contrasting = [in1k("mocov3", "vit_b", 300), in1k("dino", "vit_b", 400)]
    added = {"A momentum teacher helps": "can_teacher", "Local crops help": "can_crops"}
    return [
        *(_probed(f"CAN ViT-B 800 is above {_named(spec)}", difference(can, spec)) for spec in masked),
        _probed("CAN is above CAE at equal epochs, mean of ViT-B 800 and 1600", average(cae)),
        *(_probed(f"{_named(spec)} is above CAN ViT-B 1600", difference(spec, longer)) for spec in contrasting),
        *(
            _probed(f"{text} CAN, ViT-B 800", difference(in1k(method, "vit_b", 800), can), "Sec. 3.6")
            for text, method in added.items()
        ),
    ]


def _probed(text: str, contrast: Contrast, place: str = "Table 3") -> Claim:
    claim = ordering(place, f"{text}, by linear probe on IN-1K", "table3_in1k", contrast)
    as_printed: Contrast = {_as_printed(spec): weight for spec, weight in contrast.items()}
    return dataclasses.replace(claim, paper=printed_difference(Difference(as_printed), place))


def _as_printed(spec: Hashable) -> Spec:
    """The row that the paper prints for a run."""
    assert isinstance(spec, Spec)
    return dataclasses.replace(spec, epochs=PRINTED_EPOCHS.get(spec.method, spec.epochs))


def _named(spec: Spec) -> str:
    return f"{preset(spec.method).title} {spec.epochs:g}"
