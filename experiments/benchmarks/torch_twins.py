"""Our models' twins in PyTorch, made of `transformers`' parts, to compare the speed of a training step with."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import transformers
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from can.config import AugmentConfig, ModelConfig, RunConfig
from can.methods import method_class
from can.methods.mae import MAESettings
from can.methods.simclr import SimCLRSettings
from can.models.positions import sincos_positions
from can.models.transformer import LAYER_NORM_EPS
from experiments.harness.timing import Program

METHODS = ("mae", "simclr")


def same_model(config: RunConfig) -> RunConfig:
    """`config` with what its twin has: a cls token, [M] in the decoder's width, and views that are made elsewhere."""
    model = dataclasses.replace(config.model, cls_token=True, mask_token="decoder")
    return dataclasses.replace(config, model=model, augment=AugmentConfig(name="none"))


def twin(config: RunConfig) -> torch.nn.Module:
    """Maps views `[views * batch, 3, size, size]` to the loss; positions are not trained."""
    if isinstance(config.method, MAESettings):
        return MAE(config.model, config.method)
    assert isinstance(config.method, SimCLRSettings)
    return SimCLR(config.model, config.method)


def training_step(config: RunConfig, threads: int) -> Program:
    """Forward, backward and AdamW (PyTorch's fused one) of the twin on made-up views."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = twin(config).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optim = config.optim
    adamw = torch.optim.AdamW(
        parameters, lr=1e-4, betas=(optim.beta1, optim.beta2), weight_decay=optim.weight_decay, fused=True
    )
    size = config.model.image_size
    views = torch.randn(method_class(config.method.name).num_views * optim.batch_size, 3, size, size)

    def step() -> float:
        adamw.zero_grad()
        loss = model(views)
        loss.backward()
        adamw.step()
        return loss.item()

    return step


def num_parameters(model: torch.nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class MAE(torch.nn.Module):
    """`transformers.ViTMAEForPreTraining`."""

    def __init__(self, model: ModelConfig, method: MAESettings) -> None:
        super().__init__()
        config = transformers.ViTMAEConfig(
            **_encoder(model),
            decoder_hidden_size=model.decoder_width,
            decoder_num_hidden_layers=model.decoder_depth,
            decoder_num_attention_heads=model.decoder_heads,
            decoder_intermediate_size=model.decoder_mlp_dim,
            mask_ratio=method.mask_rate,
            norm_pix_loss=method.norm_pix,
        )
        self.mae = transformers.ViTMAEForPreTraining(config)

    def forward(self, views: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Eq. 2; the order of `noise` `[batch, tokens]` says which patches are visible, None draws it."""
        return self.mae(views, noise=noise).loss


class SimCLR(torch.nn.Module):
    """`transformers.ViTModel`, the paper's projection head and InfoNCE on two views."""

    def __init__(self, model: ModelConfig, method: SimCLRSettings) -> None:
        super().__init__()
        self.temperature = method.temperature
        self.vit = transformers.ViTModel(transformers.ViTConfig(**_encoder(model)), add_pooling_layer=False)
        positions = self.vit.embeddings.position_embeddings.requires_grad_(False)
        positions.zero_()
        positions[0, 1:] = torch.from_numpy(sincos_positions(model.image_size // model.patch_size, model.width))
        layers: list[torch.nn.Module] = []
        width = model.width
        for _ in range(model.head_depth):
            layers += [torch.nn.Linear(width, model.head_width, bias=False), torch.nn.BatchNorm1d(model.head_width)]
            layers += [torch.nn.ReLU()]
            width = model.head_width
        self.head = torch.nn.Sequential(*layers, torch.nn.Linear(width, model.head_out))

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Eq. 1."""
        pooled = self.vit(views).last_hidden_state[:, 1:].mean(dim=1)
        u = F.normalize(self.head(pooled), dim=1)
        logits = (u @ u.T / self.temperature).fill_diagonal_(-torch.inf)
        rows = len(u)
        return F.cross_entropy(logits, (torch.arange(rows) + rows // 2) % rows)


def _encoder(model: ModelConfig) -> dict[str, Any]:
    return dict(
        image_size=model.image_size,
        patch_size=model.patch_size,
        hidden_size=model.width,
        num_hidden_layers=model.depth,
        num_attention_heads=model.heads,
        intermediate_size=model.mlp_dim,
        layer_norm_eps=LAYER_NORM_EPS,
    )
