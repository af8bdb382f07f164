"""Small calls every worker understands."""

from __future__ import annotations

import importlib

from medviewer.jobs.job import JobContext


def warm(ctx: JobContext, payload: object) -> None:
    """Import the modules named in `payload`, so that the first real call need not."""
    if isinstance(payload, tuple):
        for name in payload:
            importlib.import_module(str(name))


def echo(ctx: JobContext, payload: object) -> object:
    """Return `payload`: the self-test of a worker."""
    ctx.progress(1.0, "echo")
    return payload
