# SPDX-License-Identifier: Apache-2.0
"""Libraries that are loaded before those of a program, to break it."""

import os
import pathlib
import subprocess

from lab import plan as planning


def library(plan: planning.Plan, name: str) -> pathlib.Path:
    """Return a library made of ``NAME.c``; compiled once in a lab."""
    made = plan.path('run', 'preload', f'{name}.so')
    if made.exists():
        return made
    source = pathlib.Path(__file__).with_name(f'{name}.c')
    making = made.with_suffix(f'.{os.getpid()}')
    done = subprocess.run(
        ['gcc', '-shared', '-fPIC', '-O1', '-Wall', '-o', making, source],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise planning.LabError(
            f"'{source}' cannot be compiled, so nothing can be broken by it: "
            f'{done.stderr.strip()}'
        )
    making.replace(made)
    return made
