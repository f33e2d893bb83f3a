# SPDX-License-Identifier: Apache-2.0
"""A wrong date for one process: an environment to start it with."""

import os
import pathlib
import subprocess

from lab import plan as planning

OFFSET = 'LAB_CLOCK_OFFSET'


def environment(plan: planning.Plan, seconds: float) -> dict[str, str]:
    """Return what makes a process believe to be so many seconds ahead.

    Nothing for 0: its clock is right.
    """
    if not seconds:
        return {}
    return {'LD_PRELOAD': str(_library(plan)), OFFSET: f'{seconds:.3f}'}


def _library(plan: planning.Plan) -> pathlib.Path:
    """Return what is to be loaded first; compiled once in a lab."""
    library = plan.path('run', 'clock', 'clock.so')
    if library.exists():
        return library
    source = pathlib.Path(__file__).with_name('clock.c')
    making = library.with_suffix(f'.{os.getpid()}')
    made = subprocess.run(
        ['gcc', '-shared', '-fPIC', '-O1', '-Wall', '-o', making, source],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise planning.LabError(
            f"'{source}' cannot be compiled, so no clock can be wrong: "
            f'{made.stderr.strip()}'
        )
    making.replace(library)
    return library
