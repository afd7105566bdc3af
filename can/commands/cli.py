"""Runs an experiment's main function as a command: flags in, one clear line out when the user made a mistake."""

from __future__ import annotations

import contextlib
import io
import logging as std_logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from absl import app, flags, logging

from can.commands import help, several_hosts
from can.commands.output import LastingOutput, outlast_closed_output
from can.errors import UserError, first_line
from can.system import hosts
from can.system.stopping import Stopped, handle, raise_stopped, send_lost_signals_again

GOES_ON = "the same command goes on from the last checkpoint"
_ROOT = Path(__file__).resolve().parents[2]


def run(main: Callable[[], None]) -> None:
    """Parses the command line, calls `main`, exits.

    A UserError ends the process with its text and exit status 1, a wrong flag with absl's line and status 2, Ctrl-C,
    SIGTERM and SIGHUP with a word on how to go on and 128 plus the signal's number: 130 after Ctrl-C.
    """
    logging.use_absl_handler()
    outlast_closed_output()

    def checked(arguments: list[str]) -> None:
        if len(arguments) > 1:
            sys.exit(f"error: unexpected argument {arguments[1]!r}: flags are written --name=value")
        configure_logging()
        handle(raise_stopped)
        send_lost_signals_again()
        try:
            several_hosts.join()
            with _told_apart():
                main()
            _check_output()
        except UserError as error:
            _end(f"error: {error}", 1)
        except KeyboardInterrupt as stop:
            saved = str(stop)
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            _end(f"\nstopped{saved and f': {saved}'}; {GOES_ON}", 128 + number)
        except (AssertionError, RuntimeError, MemoryError, ValueError, jax.errors.JaxRuntimeError) as error:
            if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
                if several_hosts.is_of_a_lost_process(error):
                    _end_with_the_lost(error)
                if missing := _missing_device():
                    _end(f"error: {missing}", 1)
                raise
            first = first_line(error)
            _end(
                f"error: out of memory ({first}): take a smaller --batch_size or model, or see --accumulate, --remat", 1
            )

    def parse(arguments: list[str]) -> list[str]:
        try:
            if help.asked(arguments):
                print(help.text(arguments, main))
                sys.exit(0)
            return flags.FLAGS(arguments)
        except (flags.Error, UserError, ValueError) as error:  # ValueError: --noX=true, where X takes no value so
            print(f"error: {error} (--help lists the flags)", file=sys.stderr)
            sys.exit(2)

    app.run(checked, flags_parser=parse)


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Lets the first of several processes alone show results and progress; the others' lines say whose they are."""
    if hosts.is_first():
        yield
        return
    logging.set_verbosity(logging.WARNING)
    with (
        marked_progress(_whose()),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        yield


def _whose() -> str:
    """The mark of this process's lines, where several hosts share a terminal."""
    return f"[process {jax.process_index()} of {jax.process_count()}] "


def _check_output() -> None:
    """Raises UserError if the disk was full on which the output was to be kept: a table that is lost is not made."""
    sys.stdout.flush()
    if isinstance(sys.stdout, LastingOutput) and (error := sys.stdout.lost):
        raise UserError(
            f"what this command prints could not be kept: the disk is full ({error.strerror}): free some space and "
            "start the same command again, for which runs that are finished stay so"
        )


def _missing_device() -> str | None:
    """What JAX_PLATFORMS asks for and this machine has not, and what it has; None if nothing is missing."""
    asked = os.environ.get("JAX_PLATFORMS")
    if not asked:
        return None
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        why = f" ({first_line(error)})" if str(error) else ""
        jax.config.update("jax_platforms", None)
        there = jax.devices()
        return (
            f"JAX_PLATFORMS={asked} asks for what this machine, or this JAX, has not{why}: there is "
            f"{len(there)} x {there[0].platform}; unset it, or install the wheels, as CAN_JAX=cuda13 bash "
            "experiments/setup.sh does"
        )
    return None


def _end(last_words: str, status: int) -> None:
    """Ends the process. One of several does not say good-bye: the others, who may wait for it, then notice at once."""
    if not hosts.are_several():
        print(last_words, file=sys.stderr)
        sys.exit(status)
    print(_whose() + last_words, file=sys.stderr, flush=True)
    os._exit(status)


def _end_with_the_lost(error: BaseException) -> None:
    """Ends a process whose collective operation failed: another one is gone, and JAX names it when it is missed."""
    why = first_line(error)
    print(
        f"{_whose()}error: another process is gone ({why}); JAX says in "
        f"up to {several_hosts.HEARTBEAT_S} seconds which one; {GOES_ON}",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(several_hosts.HEARTBEAT_S + 15)
    os._exit(1)


def configure_logging() -> None:
    """Our own progress as plain lines; of the libraries, which log to the same place, only warnings."""
    logging.use_absl_handler()  # which takes the place of others that write to stderr, as long as it is itself
    outlast_closed_output()
    if not flags.FLAGS.is_parsed():  # in a process that a table started, which is given its setting instead
        flags.FLAGS.mark_as_parsed()
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    if isinstance(sys.stderr, LastingOutput):
        handler.python_handler.setStream(sys.stderr)
    handler.setFormatter(std_logging.Formatter("%(message)s"))
    ours = tuple(f"{_ROOT / room}{os.sep}" for room in ("can", "experiments", "analysis"))
    handler.addFilter(lambda record: record.levelno >= std_logging.WARNING or record.pathname.startswith(ours))


@contextlib.contextmanager
def marked_progress(mark: str) -> Iterator[None]:
    """Puts `mark` in front of every line of progress: of several runs at a time, which one it is of."""
    lines, handler = _MarkedLines(mark), logging.get_absl_handler().python_handler
    before = handler.setStream(lines)
    try:
        with contextlib.redirect_stderr(lines):
            yield
    finally:
        handler.setStream(before)


class _MarkedLines(io.TextIOBase):
    """Writes whole lines to stderr, each behind a mark.

    It is no terminal, so that progress comes in lines and not as bars that would overwrite each other.
    """

    def __init__(self, mark: str) -> None:
        self._stream, self._mark, self._unfinished = sys.stderr, mark, ""

    def write(self, text: str) -> int:
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        self._stream.write("".join(f"{self._mark}{line}\n" for line in lines))
        self._stream.flush()
        return len(text)
