#!/usr/bin/env bash
# Makes .venv once and puts it first on PATH. Every script sources this file; it also runs by itself:
#
#   bash experiments/setup.sh                    CPU, on Linux and macOS
#   CAN_JAX=cuda13 bash experiments/setup.sh     NVIDIA GPUs with CUDA 13's wheels (driver 580 or newer)
#   CAN_JAX=cuda12 bash experiments/setup.sh     NVIDIA GPUs with CUDA 12's wheels (driver 525 or newer)
#   CAN_JAX=tpu bash experiments/setup.sh        Cloud TPU virtual machines
#
# .venv remembers the choice. CAN_PYTHON=/path/to/python names the Python that .venv is made of (3.11 to 3.14).
# Interrupted, it starts over; started twice at once, the second waits; what somebody removed from .venv is installed
# again. Written for bash 3.2, which macOS has.
set -euo pipefail
unset CDPATH # with it, cd may go elsewhere and prints where

CAN_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
CAN_VENV="$CAN_ROOT/.venv"
CAN_JAX="${CAN_JAX:-$(cat "$CAN_VENV/.can-jax" 2>/dev/null || echo cpu)}"

can_fail() {
  echo "error: $*" >&2
  exit 1
}

can_python_fits() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

# Prints the Python to make .venv of. Runs each candidate, since version managers put names on PATH that do not work.
can_find_python() {
  local candidate candidates=(python3.13 python3.12 python3.11 python3.14 python3 python)
  [ -z "${CAN_PYTHON:-}" ] || candidates=("$CAN_PYTHON")
  for candidate in "${candidates[@]}"; do
    if can_python_fits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  can_fail "no Python 3.11 to 3.14 found (tried ${candidates[*]}): install one, for example with" \
    "'apt install python3 python3-venv' or 'brew install python@3.13', or name it: CAN_PYTHON=/path/to/python"
}

# Everything that an installation depends on, as text: it is its own stamp.
can_state() {
  echo "$CAN_ROOT $CAN_JAX $("$CAN_VENV/bin/python" -V 2>/dev/null || echo none)"
  (cd "$CAN_ROOT" && cat "$@")
}

can_is_installed() {
  local stamp="$CAN_VENV/.can-$1" lacks
  shift
  [ -f "$stamp" ] && [ "$(can_state "$@")" = "$(cat "$stamp")" ] && lacks="$(can_lacks "$@")" && [ -z "$lacks" ]
}

# The names of the packages of these files that .venv lacks. -I: none that lies elsewhere counts.
can_lacks() {
  (cd "$CAN_ROOT" && "$CAN_VENV/bin/python" -I experiments/harness/requirements.py "$@")
}

# Holds an exclusive lock on descriptor 9 until that is closed, or this process and what it started have died.
# Python takes it, as macOS has no flock command; the lock belongs to the open file and outlives the taker.
can_lock() {
  exec 9>>"$CAN_VENV/.can-lock"
  "$1" -c '
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("waiting for another start to finish setting up .venv", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
'
}

# Makes .venv, unless there is one that works, is of this folder and kind of wheels, and was not left half-way.
can_make_venv() {
  local unfinished="$CAN_VENV/.can-unfinished" wanted="$CAN_ROOT $CAN_JAX" made
  made="$(cat "$CAN_VENV/.can-made-for" 2>/dev/null || echo "$wanted")"
  if [ -e "$unfinished" ] || [ "$made" != "$wanted" ] || ! can_python_fits "$CAN_VENV/bin/python"; then
    echo "making .venv with $("$1" -V)" >&2
    touch "$unfinished"
    find "$CAN_VENV" -mindepth 1 -maxdepth 1 ! -name .can-lock ! -name .can-unfinished -exec rm -rf {} +
    "$1" -m venv "$CAN_VENV" || can_fail "$1 cannot make a virtual environment: on Debian, apt install python3-venv"
  fi
  touch "$unfinished"
  echo "$wanted" >"$CAN_VENV/.can-made-for"
  echo "$CAN_JAX" >"$CAN_VENV/.can-jax"
}

# can_install NAME "FILE..." PIP_ARGUMENT...: installs, unless that was done with the present content of the files.
can_install() {
  local name="$1" files="$2" python
  shift 2
  # shellcheck disable=SC2086  # file names without spaces, relative to the repository
  if can_is_installed "$name" $files; then
    return
  fi
  python="$(can_find_python)"
  mkdir -p "$CAN_VENV"
  can_lock "$python"
  # shellcheck disable=SC2086
  if ! can_is_installed "$name" $files; then # another start may have done it while this one waited
    can_make_venv "$python"
    echo "installing $files into .venv (once; a minute or a few)" >&2
    (cd "$CAN_ROOT" && "$CAN_VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@") ||
      can_fail "pip could not install $files: see above, check the network, then start the same command again"
    # shellcheck disable=SC2086
    can_state $files >"$CAN_VENV/.can-$name"
    rm "$CAN_VENV/.can-unfinished"
  fi
  exec 9>&-
}

case "$CAN_JAX" in
cpu | cuda12 | cuda13 | tpu) ;;
*) can_fail "unknown CAN_JAX '$CAN_JAX' (valid: cpu, cuda12, cuda13, tpu)" ;;
esac

can_install base "requirements.txt pyproject.toml" -r requirements.txt "jax[$CAN_JAX]" -e .

export VIRTUAL_ENV="$CAN_VENV" PATH="$CAN_VENV/bin:$PATH"
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  echo "ready: source .venv/bin/activate"
fi
