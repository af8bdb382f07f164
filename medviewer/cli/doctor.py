"""``medviewer doctor``: would the main job work here, and if not, what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from medviewer.core.errors import MedViewerError
from medviewer.core.version import __version__
from medviewer.jobs.job import NullContext
from medviewer.jobs.worker import WorkerProcess
from medviewer.plugin_host.registry import PluginRegistry

State = Literal["ok", "note", "fail"]
PACKAGES = (
    "numpy", "SimpleITK", "pydicom", "highdicom", "nibabel", "scipy", "scikit-image", "vtk", "PySide6_Essentials",
    "torch", "imagecodecs", "python-gdcm", "pyjpegls", "pylibjpeg-openjpeg", "psygnal", "typer", "rich",
)  # fmt: skip
#: Less free memory than this and a chest CT with its masks does not fit.
LITTLE_MEMORY = 2 << 30
LITTLE_DISK = 1 << 30
_TIME_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One answer: ``fail`` means that the main job would fail, ``note`` that something smaller is missing."""

    name: str
    state: State
    text: str
    hint: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def examine(registry: PluginRegistry, folders: dict[str, Path], device: str = "auto") -> Iterator[Check]:
    """Check this machine; yields each answer as soon as it is known.

    Parameters
    ----------
    registry : PluginRegistry
        With its plugins discovered.
    folders : dict of str to Path
        Folders that have to be writable, by what they are for.
    device : str
        The device that tasks shall use.
    """
    yield versions()
    yield machine()
    yield parts()
    model = WorkerProcess("model", device=device)
    decode = WorkerProcess("decode")
    probe = WorkerProcess("drawing")
    try:
        started = worker_start(model)
        yield started
        if started.state != "fail":
            yield _guarded("Computing", lambda: computing(model))
            yield _guarded("Plugins", lambda: plugins(registry, model))
        yield _guarded("Decoders", lambda: decoders(decode))
        yield _guarded("Drawing", lambda: drawing(probe), "The window and the pictures need OpenGL; see the README.")
        yield desktop(probe)
    finally:
        for worker in (model, decode, probe):
            worker.close()
    for purpose, folder in folders.items():
        yield writable(purpose, folder)


def to_json(checks: list[Check]) -> dict[str, Any]:
    """Return the answers as JSON-ready values."""
    return {"ok": all(check.state != "fail" for check in checks), "checks": [asdict(check) for check in checks]}


def _guarded(name: str, check: Callable[[], Check], hint: str = "") -> Check:
    try:
        return check()
    except MedViewerError as error:
        return Check(name=name, state="fail", text=error.text, hint=hint or error.hint)


def versions() -> Check:
    """Versions of the program and of what it stands on."""
    found: dict[str, str] = {"medviewer": __version__, "python": platform.python_version()}
    missing = []
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    frozen = bool(getattr(sys, "frozen", False))
    if missing and not frozen:
        text = f"These packages are missing: {', '.join(missing)}."
        return Check(name="Versions", state="fail", text=text, hint="Install them: pip install .", facts=found)
    text = f"MedViewer {__version__}{' (frozen)' if frozen else ''}, Python {found['python']}"
    return Check(name="Versions", state="ok", text=text, facts=found)


def machine() -> Check:
    """System, processor and memory."""
    import psutil

    memory = psutil.virtual_memory()
    facts = {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": memory.total,
        "free_memory_bytes": memory.available,
    }
    free = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory free"
    text = f"{facts['processor']}, {facts['cores']} cores, {free}"
    if memory.available < LITTLE_MEMORY:
        hint = "Close other programs; a chest CT with its masks needs about 2 GB."
        return Check(name="Machine", state="note", text=text, hint=hint, facts=facts)
    return Check(name="Machine", state="ok", text=text, facts=facts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def parts() -> Check:
    """Tools, readers and export formats: what is found by looking into packages, which a frozen program may lack."""
    from medviewer.editing.tool import all_tools
    from medviewer.export.exporter import all_exporters
    from medviewer.io.reader import readers

    facts = {
        "tools": sorted(tool.id for tool in all_tools()),
        "readers": sorted(reader.id for reader in readers()),
        "formats": sorted(exporter.id for exporter in all_exporters()),
    }
    text = ", ".join(f"{len(ids)} {what}" for what, ids in facts.items())
    missing = [what for what, ids in facts.items() if not ids]
    if missing:
        return Check(
            name="Parts", state="fail", text=f"no {' and no '.join(missing)}", hint="Install again.", facts=facts
        )
    return Check(name="Parts", state="ok", text=text, facts=facts)


def worker_start(worker: WorkerProcess) -> Check:
    """Start a worker process and send an array there and back."""
    import numpy as np

    started = time.perf_counter()
    array = np.arange(1 << 16, dtype=np.int32)
    try:
        back = worker.call("medviewer.jobs.worker_calls:echo", array, NullContext(), time_limit=_TIME_LIMIT_S)
    except MedViewerError as error:
        return Check(name="Worker", state="fail", text=error.text, hint="The log of the worker is above.")
    if not np.array_equal(np.asarray(back), array):
        return Check(name="Worker", state="fail", text="The worker returned other values than it was sent.")
    seconds = time.perf_counter() - started
    return Check(name="Worker", state="ok", text=f"starts in {seconds:.2f} s", facts={"seconds": round(seconds, 3)})


def computing(worker: WorkerProcess) -> Check:
    """Torch and the devices it can use."""
    facts: Any = worker.call("medviewer.cli.probes:torch_facts", None, NullContext(), time_limit=_TIME_LIMIT_S)
    gpus = [d for d in facts["devices"] if d["works"]]
    text = f"PyTorch {facts['version']}, " + (
        ", ".join(f"{d['device']} {d['name']} ({d['memory_bytes'] / 1e9:.0f} GB)" for d in gpus)
        or f"CPU only ({facts['threads']} threads)"
    )
    if not facts["works"]:
        return Check(name="Computing", state="fail", text="PyTorch computes wrong values.", facts=facts)
    if len(gpus) < len(facts["devices"]):
        broken = next(d for d in facts["devices"] if not d["works"])
        hint = f"{broken['device']} does not answer: {broken['reason'] or 'wrong values'}. Update its driver."
        return Check(name="Computing", state="note", text=text, hint=hint, facts=facts)
    return Check(name="Computing", state="ok", text=text, facts=facts)


def plugins(registry: PluginRegistry, worker: WorkerProcess) -> Check:
    """All plugins: which tasks are ready, and which plugins are broken."""
    from medviewer.plugin_host.run_task import CHECK

    missing: dict[str, str] = {}
    for task in registry.tasks:
        answer: Any = worker.call(CHECK, registry.source(task.id), NullContext(), time_limit=_TIME_LIMIT_S)
        if not answer.ok:
            missing[task.id] = ", ".join(answer.missing)
    ready = [task for task in registry.tasks if task.id not in missing]
    broken = {plugin.name: plugin.reason for plugin in registry.broken}
    facts = {"ready": [task.id for task in ready], "not_ready": missing, "broken": broken}
    text = f"{len(ready)} of {len(registry.tasks)} tasks ready, {len(broken)} broken plugins"
    if not any(task.auto for task in ready):
        return Check(name="Plugins", state="fail", text=f"{text}; nothing that Analyze could run", facts=facts)
    problems = [f"{name}: {reason}" for name, reason in (missing | broken).items()]
    return Check(name="Plugins", state="note" if problems else "ok", text=text, hint="\n".join(problems), facts=facts)


def decoders(worker: WorkerProcess) -> Check:
    """Decoders for compressed pixel data."""
    found: Any = worker.call("medviewer.cli.probes:decoders", None, NullContext(), time_limit=_TIME_LIMIT_S)
    lacking = [name for name, decoder in found.items() if not decoder]
    if lacking:
        return Check(
            name="Decoders",
            state="fail",
            text=f"no decoder for {', '.join(lacking)}",
            hint="Install imagecodecs, python-gdcm, pyjpegls and pylibjpeg-openjpeg.",
            facts=found,
        )
    return Check(name="Decoders", state="ok", text=f"all {len(found)} compressed transfer syntaxes", facts=found)


def drawing(worker: WorkerProcess) -> Check:
    """OpenGL, off screen."""
    facts: Any = worker.call("medviewer.cli.probes:opengl", None, NullContext(), time_limit=_TIME_LIMIT_S)
    text = f"OpenGL {facts['version']}, {facts['renderer']}"
    if facts["drawn"] != "yes":
        return Check(name="Drawing", state="fail", text=f"{text}: the picture stays empty", facts=facts)
    return Check(name="Drawing", state="ok", text=text, facts=facts)


def desktop(worker: WorkerProcess) -> Check:
    """Whether a window could open."""
    from medviewer.cli.probes import has_display

    if not has_display():
        text = "no display: the commands work, the window cannot open"
        return Check(name="Desktop", state="note", text=text, hint="Run it on a desktop for the window.")
    try:
        facts: Any = worker.call("medviewer.cli.probes:desktop", None, NullContext(), time_limit=_TIME_LIMIT_S)
    except MedViewerError:
        hint = "A system library that Qt needs is missing, or the display refuses the connection; see above."
        return Check(name="Desktop", state="fail", text="Qt cannot open a window on this display", hint=hint)
    return Check(name="Desktop", state="ok", text=f"{facts['platform']}, screen {facts['screen']}", facts=facts)


def writable(purpose: str, folder: Path) -> Check:
    """Whether a folder can be written, and how much room is left."""
    name = f"Folder for {purpose}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"medviewer")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Check(
            name=name, state="fail", text=f"{folder} cannot be written: {reason}", hint="Choose another folder."
        )
    facts = {"path": str(folder), "free_bytes": free}
    text = f"{folder}, {free / 1e9:.1f} GB free"
    if free < LITTLE_DISK:
        return Check(name=name, state="note", text=text, hint="Make room: less than 1 GB is free.", facts=facts)
    return Check(name=name, state="ok", text=text, facts=facts)
