"""Process start to the first painted window, against napari in the same run.

`make peers` installs napari beside the project; without it the comparison is skipped by name.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark_run

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5

OURS = """
import os, sys, time
import medviewer.ui.run as run
Window = run.MainWindow
def make(app):
    window = Window(app)
    def painted():
        heavy = sorted({"torch", "monai"} & set(sys.modules))
        print("PAINTED", time.time(), heavy, flush=True)
        os._exit(0)
    window.painted.connect(painted)
    return window
run.MainWindow = make
from medviewer.__main__ import main
main([])
"""

NAPARI = """
import os, time
import napari
from qtpy.QtCore import QEvent, QObject
viewer = napari.Viewer(show=False)
window = viewer.window._qt_window
class Eye(QObject):
    def eventFilter(self, source, event):
        if event.type() == QEvent.Type.Paint:
            print("PAINTED", time.time(), [], flush=True)
            os._exit(0)
        return False
eye = Eye()
viewer.window._qt_viewer.canvas.native.installEventFilter(eye)
viewer.show()
napari.run()
"""


def seconds_to_paint(python: Path, code: str, data: Path) -> tuple[float, str]:
    environment = os.environ | {"MEDVIEWER_DATA_DIR": str(data), "NAPARI_CONFIG": str(data / "napari.yaml")}
    started = time.time()
    done = subprocess.run(
        [python, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    line = next((text for text in done.stdout.splitlines() if text.startswith("PAINTED")), "")
    assert line, done.stderr[-2000:]
    _, when, heavy = line.split(maxsplit=2)
    return float(when) - started, heavy


def median(python: Path, code: str, data: Path) -> float:
    seconds_to_paint(python, code, data)  # fills the page cache, and writes first-start files
    return statistics.median(seconds_to_paint(python, code, data)[0] for _ in range(ROUNDS))


def test_the_window_has_no_torch(tmp_path: Path) -> None:
    _, heavy = seconds_to_paint(Path(sys.executable), OURS, tmp_path)
    assert heavy == "[]"


def test_start_up_against_napari(tmp_path: Path) -> None:
    ours = median(Path(sys.executable), OURS, tmp_path)
    print(f"\nstart to first painted window: {ours * 1000:.0f} ms")
    peer = ROOT / ".venv-peers" / "bin" / "python"
    if not peer.exists():
        pytest.skip("napari is not at hand: run `make peers`")
    napari = median(peer, NAPARI, tmp_path)
    print(f"napari: {napari * 1000:.0f} ms, {napari / ours:.1f} times as long")
    assert napari >= 2 * ours
