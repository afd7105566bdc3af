"""What a table was made of: which model and data play the paper's roles, how many images an epoch stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from analysis.lib.measurements import ROLES, Run, differing_fields, protocols
from can.config import ModelConfig

NOT_A_RESULT = "smoke: not a result"
# In these the runs of one method and model may differ; in the rest a table takes them to be the same.
_LENGTH = ("epochs", "seed", "optim.max_steps", "optim.total_steps", "optim.warmup_steps")


def describe(runs: Sequence[Run]) -> list[str]:
    """Sentences that head a table; `runs` are all that entered it."""
    if not runs:
        return ["Nothing is measured at this scale yet."]
    trained = [run for run in runs if run.key.epochs]
    players: dict[str, dict[str, None]] = {}
    for name, role in ROLES.items():
        models = [_model(run.config.model) for run in runs if run.key.model == role]
        data = [f"`{run.config.data.name}`" for run in trained if run.key.data == role]
        players[name] = dict.fromkeys(models + data)
    images = sorted({(run.key.epochs, run.images) for run in trained})
    schedule = "; ".join(f"{epochs:g} → {seen:,}" for epochs, seen in images)
    return [
        *(f"{name} is played by {' and '.join(found)}." for name, found in players.items() if found),
        *_evaluations(runs),
        *([f"Epochs of the paper → images seen here: {schedule}."] if images else []),
    ]


def warnings(runs: Sequence[Run]) -> list[str]:
    """Sentences about rows that cannot be compared because the settings changed between their runs."""
    found = []
    for key, group in groupby(sorted(runs, key=lambda run: run.key), key=lambda run: run.key):
        found += _differences(group, f"The seeds of {key}", ignore=("seed",))
    rows = sorted({run.key: run for run in runs}.values(), key=lambda run: run.key)
    for (method, model, data), group in groupby(rows, key=lambda run: run.key[:3]):
        found += _differences(group, f"The rows of {method}/{model} on {data}", ignore=_LENGTH)
    evaluated = differing_fields(protocols(runs))
    if evaluated:
        found.append(f"The runs were evaluated under different settings: {'; '.join(evaluated)}.")
    return found


def _model(model: ModelConfig) -> str:
    patches = f"{model.num_patches} patches of {model.patch_size} px in images of {model.image_size} px"
    return f"`{model.size}` (width {model.width}, depth {model.depth}, {patches})"


def _evaluations(runs: Sequence[Run]) -> list[str]:
    """Names the labelled sets, where the protocol tells them."""
    sets = dict.fromkeys(
        f"trains on `{protocol['train']}` and tests on `{protocol['test']}`"
        for protocol in protocols(runs)
        if "train" in protocol and "test" in protocol
    )
    return [f"The evaluation {' or '.join(sets)}, in the role of IN-1K."] if sets else []


def _differences(group: Iterable[Run], what: str, ignore: Iterable[str]) -> list[str]:
    fields = differing_fields([run.config.to_dict() for run in group], ignore)
    return [f"{what} have different settings: {'; '.join(fields)}."] if fields else []
