"""An exported encoder read by the library that it was exported for, to compare features on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from can.system.files import read_json


def features_of(
    folder: Path, form: str, images: UInt8[np.ndarray, "batch size size 3"]
) -> tuple[Float32[np.ndarray, "batch width"] | None, str]:
    """The library's features of the images and its name with the version; None, and ours, where it is not installed."""
    try:
        import torch

        if form == "timm":
            import timm

            about = read_json(folder / "config.json")["pretrained_cfg"]
            model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
            with torch.no_grad():
                return model(_pixels(images, about["mean"], about["std"])).numpy(), f"timm {timm.__version__}"
        if form == "transformers":
            import transformers

            about = read_json(folder / "preprocessor_config.json")
            model = transformers.AutoModel.from_pretrained(folder).eval()
            with torch.no_grad():
                tokens = model(_pixels(images, about["image_mean"], about["image_std"])).last_hidden_state.numpy()
            prefix = int(type(model).__name__ == "ViTModel")
            return tokens[:, prefix:].mean(1), f"transformers {transformers.__version__}"
    except ImportError:
        pass
    return None, "can.load_encoder"


def _pixels(images: np.ndarray, mean: Any, std: Any) -> Any:
    import torch

    normal = (images / 255 - np.array(mean)) / np.array(std)
    return torch.from_numpy(normal.transpose(0, 3, 1, 2)).float()
