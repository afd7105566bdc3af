"""BEiT: masked patches become a learned token in the encoder's input, and their tokens are predicted."""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx
from jaxtyping import Array, Float

from can import objectives
from can.config import ModelConfig
from can.methods.method import Loss, Metrics
from can.methods.tokens import TokenisedView, TokenMethod, TokenSettings
from can.models.transformer import dense
from can.views import hidden_of, shuffle


@dataclass(frozen=True)
class BEiTSettings(TokenSettings):
    """The settings of the tokens."""

    name: str = field(default="beit", init=False)


class BEiT(TokenMethod):
    """Cross-entropy of the masked patches' tokens (Bao et al., 2022)."""

    name = "beit"
    Settings = BEiTSettings
    settings: BEiTSettings

    def __init__(self, config: ModelConfig, settings: BEiTSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        self.mask_token = nnx.Param(nnx.initializers.truncated_normal(0.02)(rngs.params(), (config.width,)))
        self.predict = dense(config.width, settings.codes, dtype=config.dtype, rngs=rngs)

    def encode(self, view: TokenisedView) -> Float[Array, "rows encoded width"]:
        """The encoder's tokens of all places; it sees of the masked ones where they are."""
        hidden = hidden_of(view.order, self.num_visible)
        return self.encoder(view.patches, hidden=hidden, mask_token=self.mask_token[...])

    def each_image(self, view: TokenisedView) -> tuple[None, Metrics]:
        """Eq. 2 of Bao et al."""
        encoded = self.encode(view)[:, int(self.config.cls_token) :]
        logits = self.predict(shuffle(encoded, view.order[:, self.num_visible :]))
        token = objectives.token_prediction(logits, view.tokens)
        return None, {"token": token, "accuracy": objectives.hit_rate(logits, view.tokens)}

    def whole_batch(self, features: None, means: Metrics) -> Loss:
        """The cross-entropy alone."""
        return means["token"], {}
