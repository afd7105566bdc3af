"""A run's training step as programs to time: the whole of it, and its beginnings."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.compilation_cache import compilation_cache

from can import seeds
from can.augment import augment, normalize
from can.config import RunConfig
from can.methods import method_class
from can.runs.log import NORMS
from can.schedules import rates
from can.training_step import init_state, make_train_step
from experiments.harness.timing import Program

NUM_CLASSES = 1000
LEARNING_RATE = 1e-4


class TrainingStep:
    """The step of `config` as training runs it, compiled, on a batch of made-up images.

    `anew`: whether a program that is in the cache is compiled all the same; `num_seeds`: how many one program has.

    Attributes:
      compile_seconds: of tracing and compiling the whole step.
      parts: names of what the step does, in its order.
      memory: bytes that the compiled step holds at its peak (arguments, results and temporaries), as XLA plans them.
    """

    parts = ("augmentation", "forward", "backward", "optimiser")

    def __init__(self, config: RunConfig, *, anew: bool = True, num_seeds: int = 1) -> None:
        method = method_class(config.method.name)
        graphdef, self._state = init_state(config, NUM_CLASSES)
        self._config, self._views = config, method.num_views
        self._step = make_train_step(graphdef, config)
        shape: tuple[int, ...] = (config.optim.batch_size, config.model.image_size, config.model.image_size, 3)
        if config.augment.name == "none":  # the views are made elsewhere
            shape = (shape[0], method.num_views, *shape[1:])
        rng = np.random.default_rng(0)
        batch = {"image": jnp.asarray(rng.integers(0, 256, shape, np.uint8))}
        if method.needs_labels:
            batch["label"] = jnp.asarray(rng.integers(0, NUM_CLASSES, shape[:1]))
        key = jax.random.key(0)
        if num_seeds > 1:
            self._step = seeds.of_seeds(self._step)
            self._state = seeds.stack([self._state] * num_seeds)
            batch, key = seeds.stack([batch] * num_seeds), seeds.stack([key] * num_seeds)
        self._arguments = (batch, {name: jnp.float32(LEARNING_RATE) for name in rates(config)(0)}, key)

        with _nothing_cached() if anew else contextlib.nullcontext():
            start = time.perf_counter()
            self._compiled = jax.jit(self._step, donate_argnums=0).lower(self._state, *self._arguments).compile()
            self.compile_seconds = time.perf_counter() - start
        plan: Any = self._compiled.memory_analysis()
        self.memory = (
            plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes
        )

    def whole(self) -> Any:
        """Trains one step."""
        self._state, metrics = self._compiled(self._state, *self._arguments)
        return metrics

    def beginnings(self) -> dict[str, Program]:
        """By the part that each ends with: the step up to there, compiled as one program.

        All but the first are the whole step of which only some results are asked for: what they do not need is removed
        by the compiler. The gradients' own result is AdamW's first moment, one multiply-add an entry from them.
        """

        def augmentation(state: Any, batch: Any, rate: Any, key: Any) -> Any:
            size = self._config.model.image_size
            return normalize(augment(key, batch["image"], self._config.augment, image_size=size, views=self._views))

        def losses(metrics: Any) -> Any:  # the norms need what comes after
            return {name: value for name, value in metrics.items() if name not in NORMS}

        def forward(*args: Any) -> Any:
            return losses(self._step(*args)[1])

        def backward(*args: Any) -> Any:
            state, metrics = self._step(*args)
            return optax.tree_utils.tree_get(state.opt_state, "mu"), losses(metrics)

        def program(function: Any) -> Program:
            compiled = jax.jit(function).lower(self._state, *self._arguments).compile()
            return lambda: compiled(self._state, *self._arguments)

        programs = [*map(program, (augmentation, forward, backward)), self.whole]
        return dict(zip(self.parts, programs, strict=True))


@contextlib.contextmanager
def _nothing_cached() -> Iterator[None]:
    """Compiles anew what is compiled meanwhile."""
    before = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]  # made at import
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # it looks at the setting only once
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
