"""Commands that are started on several hosts at once, with the same flags: how the processes find each other.

On Slurm, under Open MPI and on Kubernetes' TPUs they do by themselves, on a TPU pod's own machines with
`--coordinator=auto`. Elsewhere, three flags say who they are.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from absl import flags

from can.errors import ConfigError, first_line
from can.runs.provenance import LOADED
from can.system import hosts
from can.system.stopping import ending_at_once

HEARTBEAT_S = 30  # without a sign of life, so long, a process counts as lost, and the others end
AUTO = "auto"
OWN = ("coordinator", "num_processes", "process_id")  # of each start ...
LIMIT = "join_seconds"  # ... and this one; all other flags are the same on all hosts
MEETING_PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")  # HOST:PORT


def define_flags() -> None:
    """--coordinator, --num_processes and --process_id, and how long they wait for each other."""
    flags.DEFINE_string("coordinator", None, f"HOST:PORT of the first of several processes, or {AUTO}: JAX finds it")
    flags.DEFINE_integer("num_processes", None, "how many processes make the runs together", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "which of them this is, from 0", lower_bound=0)
    flags.DEFINE_float(LIMIT, 300, "so long several processes wait for each other when they start", lower_bound=1)


def join() -> None:
    """Meets the other processes, if there are any; before any device is asked for.

    Ends the process, with a line, if they are not there after --join_seconds. Raises ConfigError if some of the three
    flags are given and others not, or another host has other flags or code.
    """
    values = flags.FLAGS
    if not set(OWN) <= set(values):  # a command that has no runs to make
        return
    who: dict[str, Any] = {name: values[name].value for name in OWN}
    if who["coordinator"] == AUTO or (who == dict.fromkeys(OWN) and are_found(os.environ)):
        who = dict.fromkeys(OWN)  # which leaves it to JAX
    elif who == dict.fromkeys(OWN):
        return
    else:
        _check_told(who)
    # A CPU runs programs side by side, in an order of its own: collective operations of two would wait for each other
    # for ever, in one process those of the first and in another those of the second. Accelerators keep the order.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    # JAX would only note SIGTERM, in place of our own handler.
    jax.config.update("jax_enable_preemption_service", False)
    limit: Any = values[LIMIT].value
    try:
        with ending_at_once(), _patience(who, limit):
            jax.distributed.initialize(
                who["coordinator"],
                who["num_processes"],
                who["process_id"],
                initialization_timeout=math.ceil(limit) + 60,  # JAX aborts, with stacks: later than we
                heartbeat_timeout_seconds=HEARTBEAT_S,
            )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the processes do not find each other ({first_line(error)})") from error
    # JAX aborts when another process is lost, and says which. Stacks of all threads would bury that.
    if "PYTHONFAULTHANDLER" not in os.environ:
        faulthandler.disable()
    hosts.check_equal({"command line": _shared_command(values), "commit": str(LOADED)})


def is_of_a_lost_process(error: BaseException) -> bool:
    """Whether a collective operation failed, which is how a process first meets the end of another one."""
    is_collective = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)  # also as a ValueError
    return hosts.are_several() and is_collective


def _check_told(who: Mapping[str, Any]) -> None:
    """Raises ConfigError unless the three flags belong together."""
    told = [name for name in OWN if who[name] is not None]
    if missing := [name for name in OWN if name not in told]:
        raise ConfigError(f"--{' and --'.join(told)} need --{' and --'.join(missing)} too")
    if who["process_id"] >= who["num_processes"]:
        raise ConfigError(f"--process_id={who['process_id']} is none of 0 to {who['num_processes'] - 1}")
    found = MEETING_PLACE.fullmatch(who["coordinator"])
    if not found or not 0 < int(found[2]) < 1 << 16:  # which ends JAX with a segmentation fault
        raise ConfigError(
            f"--coordinator={who['coordinator']} is not HOST:PORT, such as localhost:9999, and not {AUTO}"
        )


@contextlib.contextmanager
def _patience(who: Mapping[str, Any], seconds: float) -> Iterator[None]:
    """Says whom this process waits for, and ends it with a line if that takes longer than `seconds`."""
    index, count, where = who["process_id"], who["num_processes"], who["coordinator"]
    if where is None:
        me, others = "this process", "the others of its job"
    elif index:
        me, others = f"process {index} of {count}", f"process 0 at {where}"
    else:
        me, others = f"process 0 of {count}", f"the others, which come to {where}"
    if count != 1:
        print(f"{me} waits for {others}, at most {seconds:g} s (--{LIMIT})", file=sys.stderr, flush=True)

    def give_up() -> None:
        print(
            f"error: {me} has waited {seconds:g} s for {others}: start all of them with the same --coordinator, see "
            f"that the network lets them reach it, or give them more time with --{LIMIT}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # the main thread is in a call that nothing interrupts

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def are_found(environment: Mapping[str, str]) -> bool:
    """Whether the environment tells of several processes, in a way that JAX understands by itself."""
    sizes = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    if any(environment.get(name, "1") not in ("", "1") for name in sizes):
        return True
    return "," in environment.get("TPU_WORKER_HOSTNAMES", "") or "," in environment.get("TPU_PROCESS_ADDRESSES", "")


def _shared_command(values: flags.FlagValues) -> str:
    """The script and its flags, however they are written, without those that differ between hosts."""
    given = {name: values[name].value for name in sorted(values) if values[name].present}
    shared = (f"--{name}={value!r}" for name, value in given.items() if name not in (*OWN, LIMIT))
    return " ".join([os.path.basename(sys.argv[0]), *shared])
