"""The name of a run: method, model, data, epochs, what was changed, seed."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from can.config import RunConfig

# Names of overridden fields in a run's name, where the field's own name is longer than a reader needs.
SHORT_NAMES = {
    "augment.name": "augment",
    "augment.crop_area_max": "crop_max",
    "augment.crop_area_min": "crop",
    "data.name": "data",
    "method.denoise_loss": "denoise",
    "method.infonce_reduction": "reduction",
    "method.lambda_infonce": "nce",
    "method.lambda_reconstruct": "rec",
    "method.mask_rate": "mask",
    "method.reconstruct_target": "target",
    "method.sigma_embedding": "embed",
    "method.sigma_max": "sigma",
    "method.temperature": "tau",
    "model.image_size": "px",
    "model.patch_size": "patch",
    "optim.base_lr": "lr",
    "optim.batch_size": "bs",
    "optim.clip_norm": "clip",
    "optim.total_steps": "steps",
    "optim.warmup_steps": "warmup",
    "optim.weight_decay": "wd",
}
_NAMED_ELSEWHERE = frozenset({"scale", "epochs", "seed", "method.name"})  # in every name, or in the folder above it
_LONGEST_NAME = 200  # characters; file systems allow 255, and temporary files add to a name


def run_name(config: RunConfig, base: RunConfig, model_role: str, data_role: str) -> str:
    """The name of a run, such as `can-vitb-in1k-e100-sigma0.05-s0`: readable, unique, safe as a folder's name.

    `base` is what the scale gives this method, model, data, epochs and seed without overrides; each field in which
    `config` differs from it becomes one part of the name, in the order of the fields. Roles that cannot be in a path
    (`folder:PATH`) keep their last component and get a hash of the whole.
    """
    ours, theirs = flatten(config.to_dict()), flatten(base.to_dict())
    changed = [field for field in ours if field not in _NAMED_ELSEWHERE and ours[field] != theirs[field]]
    overrides = [_part(field, ours[field]) for field in changed]
    head = [config.method.name, _slug(model_role).replace("_", ""), _slug(data_role), f"e{number_text(config.epochs)}"]
    if len("-".join(head + overrides)) > _LONGEST_NAME:
        overrides = [f"{len(overrides)}overrides_{_digest('-'.join(overrides))}"]
    return "-".join([*head, *overrides, f"s{config.seed}"])


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration with one key a field: `{"optim": {"base_lr": 1}}` as `{"optim.base_lr": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def differences(there: dict[str, Any], asked: dict[str, Any]) -> str:
    """A line for each field of two nested configurations that differs; empty if none does."""
    old, new = flatten(there), flatten(asked)
    return "\n".join(
        f"  {field}: {old.get(field, 'nothing')} (on disk) != {new.get(field, 'nothing')} (asked)"
        for field in dict.fromkeys([*new, *old])
        if field not in old or field not in new or old[field] != new[field]
    )


def _part(field: str, value: Any) -> str:
    short = SHORT_NAMES.get(field, field.rpartition(".")[2])
    if isinstance(value, bool):
        return short if value else f"no_{short}"
    return f"{short}_{_slug(value)}" if isinstance(value, str) else short + number_text(value)


def number_text(number: int | float) -> str:
    """The shortest text that reads back as `number`."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _slug(text: str) -> str:
    """`text` as a part of a file name; what cannot be in one is replaced, and a hash then keeps names apart."""
    if re.fullmatch(r"[\w.]+", text, re.ASCII):
        return text
    kind, _, rest = text.rpartition(":") if "/" in text else ("", "", text)
    last = re.sub(r"[^\w.]+", "_", rest.rstrip("/").rpartition("/")[2], flags=re.ASCII).strip("_")[:40]
    return "_".join(part for part in (re.sub(r"\W+", "_", kind, flags=re.ASCII), last, _digest(text)) if part)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
