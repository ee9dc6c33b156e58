"""The system's C++ compiler."""

from __future__ import annotations

import os
import shutil
import subprocess

from kswatch.errors import UnsupportedError

COMPILERS = ("c++", "g++", "clang++")
TIMEOUT_S = 900
"""A build takes a minute on an idle core; a busy machine may need ten times that."""


def find_compiler() -> str:
    """`$CXX`, else the first of `COMPILERS` on the PATH.

    Raises:
        UnsupportedError: there is none.
    """
    requested = os.environ.get("CXX")
    for name in (requested,) if requested else COMPILERS:
        found = shutil.which(name)
        if found:
            return found
    raise UnsupportedError(
        f"no C++ compiler ({requested or ', '.join(COMPILERS)}) on the PATH to build the CPU twin; "
        "install g++ or name one in CXX"
    )


def run_compiler(command: list[str]) -> str:
    """Run the compiler and return its standard output.

    Raises:
        UnsupportedError: it cannot be started, fails, or hangs; with its first error message.
    """
    cure = f"try `{' '.join(command)}`, or name another compiler in CXX"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        output = (error.stderr or error.stdout).strip().splitlines() or ["no message"]
        errors = [line for line in output if "error" in line] or output
        raise UnsupportedError(f"the CPU twin does not compile: {errors[0]}; {cure}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedError(f"the compiler for the CPU twin cannot run: {error}; {cure}") from error
    return done.stdout
