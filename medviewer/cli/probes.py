"""What `medviewer doctor` asks of worker processes, where a crash is an answer too.

Each function has the signature ``(ctx, payload)`` of a worker call and returns plain values.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from medviewer.jobs.job import JobContext


def decoders(ctx: JobContext, payload: object) -> dict[str, list[str]]:
    """Return the decoders that are usable, by the name of the transfer syntax."""
    from medviewer.io.decoders import available_decoders

    return {name: list(found) for name, found in available_decoders().items()}


def opengl(ctx: JobContext, payload: object) -> dict[str, str]:
    """Draw a triangle off screen; return what drew it, and fail when the picture is empty."""
    import importlib

    from vtkmodules.vtkCommonCore import vtkObject
    from vtkmodules.vtkFiltersSources import vtkConeSource
    from vtkmodules.vtkRenderingCore import (
        vtkActor,
        vtkPolyDataMapper,
        vtkRenderer,
        vtkRenderWindow,
        vtkWindowToImageFilter,
    )

    # Registers the implementation of the classes above.
    importlib.import_module("vtkmodules.vtkRenderingOpenGL2")
    # Without a display it says so before it takes the other way.
    vtkObject.GlobalWarningDisplayOff()
    window, renderer = vtkRenderWindow(), vtkRenderer()
    window.SetOffScreenRendering(1)
    window.SetSize(64, 64)
    window.AddRenderer(renderer)
    source, mapper, actor = vtkConeSource(), vtkPolyDataMapper(), vtkActor()
    mapper.SetInputConnection(source.GetOutputPort())
    actor.SetMapper(mapper)
    renderer.AddActor(actor)
    window.Render()
    grab = vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.Update()
    facts = dict(
        part.split(":", 1)
        for part in window.ReportCapabilities().splitlines()
        if part.startswith("OpenGL ") and ":" in part
    )
    drawn = grab.GetOutput().GetScalarRange()[1] > 0
    answer = {
        "window": window.GetClassName(),
        "renderer": facts.get("OpenGL renderer string", "").strip(),
        "version": facts.get("OpenGL version string", "").strip(),
        "drawn": "yes" if drawn else "no",
    }
    window.Finalize()
    return answer


def desktop(ctx: JobContext, payload: object) -> dict[str, str]:
    """Connect Qt to the desktop; Qt ends the process when it cannot, which is the answer then."""
    from PySide6.QtGui import QGuiApplication

    app = QGuiApplication(["doctor"])
    sizes = [screen.size() for screen in app.screens()]
    screens = ", ".join(f"{size.width()}×{size.height()}" for size in sizes)
    answer = {"platform": app.platformName(), "screen": screens or "none"}
    app.shutdown()
    return answer


def has_display() -> bool:
    """Whether there is a desktop to open a window on."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def torch_facts(ctx: JobContext, payload: object) -> dict[str, Any]:
    """Compute something on each device; return version and devices."""
    import torch

    devices: list[dict[str, Any]] = []
    for n in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(n)
        try:
            value = float((torch.ones(256, 256, device=f"cuda:{n}") @ torch.ones(256, 256, device=f"cuda:{n}")).sum())
        except RuntimeError as error:
            value, reason = 0.0, str(error).splitlines()[0]
        else:
            reason = ""
        devices.append(
            {
                "device": f"cuda:{n}",
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "works": value == 256.0**3,
                "reason": reason,
            }
        )
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda or "",
        "threads": torch.get_num_threads(),
        "works": float((torch.ones(8, 8) @ torch.ones(8, 8)).sum()) == 512.0,
        "devices": devices,
    }
