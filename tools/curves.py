"""Write ``curves.png`` beside the logs of trainings; no display is needed.

``python tools/curves.py build/training/hippocampus/model …``
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(folders: list[str]) -> int:
    """Write one picture a folder; return how many had no log."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    from medviewer.ui.curves import read_log, write_curves
    from medviewer.ui.theme import apply_theme

    application = QApplication(sys.argv[:1])
    apply_theme(application)
    missing = 0
    for name in folders:
        folder = Path(name)
        log = read_log(folder)
        if log is None:
            missing += 1
            print(f"{folder}: no log of a training", file=sys.stderr)
            continue
        write_curves(log, folder / "curves.png")
        print(folder / "curves.png")
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
