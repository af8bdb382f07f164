"""The views in a process of their own: how it ends, and at another scale of the desktop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from medviewer.editing.tool import BaseTool
from medviewer.ui.views.layout import FourViews
from tests.render_phantoms import f_volume, grid_around_zero, show, signed_direction

app = QApplication(sys.argv)
workspace = show(f_volume(grid_around_zero(signed_direction((0, 1, 2), (1, 1, 1)))))
views = FourViews(workspace, BaseTool(), lambda volume_id, index: None)
views.resize(400, 400)
views.show()
assert "vtkmodules.vtkRenderingOpenGL2" not in sys.modules  # the slices need none of it

def look():
    if views.volume.view is None or not views.volume.view.frames:
        return QTimer.singleShot(50, look)
    canvas = views.slices["axial"].canvas
    frame = canvas.scene.frame
    print(canvas.width(), frame.width, views.volume.view.owner.window.GetSize()[0], views.volume.view.width())
    print("torch" in sys.modules, flush=True)
    END

QTimer.singleShot(0, look)
sys.exit(app.exec())
"""

ENDS = {
    "closed": "views.close_views(); views.close(); app.quit()",
    "only closed": "views.close()",
    "quit at once": "app.quit()",
    "exit": "sys.exit(0)",
}


def run(end: str, **environment: str) -> list[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen", **environment}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("END", ENDS[end])],
        env=env, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("end", ENDS)
def test_the_process_ends_well(end: str) -> None:
    assert run(end)[-1] == "False"  # without torch


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
def test_pictures_are_as_fine_as_the_screen(scale: float) -> None:
    logical, pixels, vtk_pixels, vtk_logical, _ = run("closed", QT_SCALE_FACTOR=str(scale))
    assert int(pixels) == round(int(logical) * scale)
    assert int(vtk_pixels) == round(int(vtk_logical) * scale)
