"""The processes that make one run together, one on each host: who writes, what all go by, how one is told of another.

All of them run the same program. What is computed lies on the devices of all (`can.sharding`); what is decided by
looking at files is decided by the first process, since the others may not see yet what it wrote. The folders of results
and checkpoints are shared by all hosts.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from can.errors import ConfigError, UserError

T = TypeVar("T")


def are_several() -> bool:
    """Whether this process is one of several. Asks for no device."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes: the only one, or the first of several. Asks for no device."""
    return not are_several() or jax.process_index() == 0


def decided(decide: Callable[..., T], *arguments: Any) -> T:
    """What `decide(*arguments)` returns in the first process, in all of them; the others wait, and do not call it.

    What it returns can be pickled. A UserError that it raises is raised in all.
    """
    if not are_several():
        return decide(*arguments)
    outcome: tuple[bool, Any] = (True, None)
    if is_first():
        try:
            outcome = (True, decide(*arguments))
        except UserError as error:
            outcome = (False, error)
    fine, value = pickle.loads(_of_first(pickle.dumps(outcome)))
    if not fine:
        raise value
    return value


def check_equal(facts: Mapping[str, str]) -> None:
    """Raises ConfigError, in all processes, if a fact about this process differs from the first one's.

    `facts`: by what each is, such as "the commit".
    """
    if not are_several():
        return
    firsts: dict[str, str] = decided(dict, facts)
    different = [name for name in facts if facts[name] != firsts.get(name)]
    flags = np.array([name in different for name in firsts], np.int32)
    for index, others in enumerate(multihost_utils.process_allgather(flags).reshape(-1, len(flags))):
        if others.any():
            name = list(firsts)[int(others.argmax())]
            raise ConfigError(
                f"process {index} has another {name} than process 0: start all with the same command, code and data"
            )


def wait_for_all(what: str) -> None:
    """Returns when all processes are here."""
    if are_several():
        multihost_utils.sync_global_devices(what)


def _of_first(message: bytes) -> bytes:
    """The first process's message. All get its length first, as arrays of one shape are exchanged."""
    length = int(multihost_utils.broadcast_one_to_all(np.array(len(message), np.int32)))
    padded = np.zeros(length, np.uint8)
    padded[: len(message)] = np.frombuffer(message, np.uint8)[:length]
    return multihost_utils.broadcast_one_to_all(padded).tobytes()
