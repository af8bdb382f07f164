"""The curves of a training: its loss and what was measured on cases held out, by step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from medviewer.ui.theme import COLORS

#: As `medviewer.training.train` writes it.
LOG_NAME = "log.json"
MAX_BYTES = 64 << 20
#: Distinguishable on the dark ground.
LINES = ("#4ea1e0", "#e8b955", "#6cc38a", "#f28b82", "#b18be0", "#7ec5d8")
HEIGHT = 260
#: Part of the losses that is averaged into the bold line.
SMOOTHED = 1 / 15


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """Step and value, one after the other."""

    losses: tuple[tuple[float, float], ...]
    metrics: tuple[tuple[float, Mapping[str, float]], ...]


def read_log(folder: Path) -> TrainingLog | None:
    """Read the log of a training; None where there is none that can be read."""
    path = folder / LOG_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
        losses = tuple((float(step), float(loss)) for step, loss in data["losses"])
        metrics = tuple(
            (float(step), {str(name): float(value) for name, value in values.items()})
            for step, values in data["metrics"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return TrainingLog(losses, metrics) if losses or metrics else None


class CurvesView(QWidget):
    """Two plots beside each other: the loss, and the measures."""

    def __init__(self, log: TrainingLog, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("trainingCurves")
        self.setFixedHeight(HEIGHT)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        if log.losses:
            row.addWidget(_losses(log.losses))
        if log.metrics:
            row.addWidget(_metrics(log.metrics))


def _plot(title: str) -> Any:
    import pyqtgraph

    plot = pyqtgraph.PlotWidget(background=COLORS["field"])
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setMouseEnabled(False, False)
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    plot.setTitle(title, color=COLORS["text"], size="10pt")
    plot.showGrid(x=True, y=True, alpha=0.15)
    plot.setLabel("bottom", "step", color=COLORS["soft"])
    for side in ("left", "bottom"):
        plot.getAxis(side).setPen(COLORS["border"])
        plot.getAxis(side).setTextPen(COLORS["soft"])
    return plot


def _losses(losses: Sequence[tuple[float, float]]) -> Any:
    import pyqtgraph

    plot = _plot("Loss")
    steps, values = np.array(losses, dtype=float).T
    plot.plot(steps, values, pen=pyqtgraph.mkPen(COLORS["disabled"], width=1))
    half = int(len(values) * SMOOTHED / 2)
    mean = [values[max(0, n - half) : n + half + 1].mean() for n in range(len(values))]
    plot.plot(steps, mean, pen=pyqtgraph.mkPen(LINES[0], width=2))
    return plot


def _metrics(metrics: Sequence[tuple[float, Mapping[str, float]]]) -> Any:
    import pyqtgraph

    plot = _plot("Measured on cases held out")
    names = list(dict.fromkeys(name for _, values in metrics for name in values))
    plot.setXRange(0, max(step for step, _ in metrics))
    legend = plot.addLegend(labelTextColor=COLORS["text"], brush=COLORS["panel"])
    legend.anchor((1, 1), (1, 1), offset=(-8, -34))
    for n, name in enumerate(names):
        points = np.array([(step, values[name]) for step, values in metrics if name in values], dtype=float)
        color = LINES[n % len(LINES)]
        pen = pyqtgraph.mkPen(color, width=2)
        plot.plot(
            points[:, 0], points[:, 1], pen=pen, symbol="o", symbolSize=5, symbolBrush=color, symbolPen=None,
            name=name.replace("_", " "),
        )  # fmt: skip
    return plot


def write_curves(log: TrainingLog, path: Path, width: int = 900, height: int = 320) -> None:
    """Write the curves as a picture; needs a `QApplication`, on any platform plugin."""
    view = CurvesView(log)
    view.setFixedSize(width, height)
    view.setStyleSheet(f"background: {COLORS['panel']};")
    picture = view.grab()
    view.deleteLater()
    if not picture.save(str(path)):
        raise OSError(f"{path} cannot be written")
