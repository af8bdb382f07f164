"""The card of a model for people: what it finds, how well, where it fails, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QImageReader, QPixmap
from PySide6.QtWidgets import QGridLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from medviewer.ai.card import ModelCard
from medviewer.ai.weights import StoredModel
from medviewer.ui.text import counted, device_name, duration, label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

#: Wide enough for a sample of three planes.
PICTURE_WIDTH = 560
#: A picture that a stranger put beside a model is no reason to run out of memory.
PICTURE_MB = 64
NAMED_LABELS = 60


class CardView(QScrollArea):
    """Shows one model."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("modelCard")
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._app = app

    def show_model(self, model: StoredModel | None) -> None:
        """Show a model, or what to do where there is none."""
        inside = QWidget()
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(14, 4, 14, 14)
        self._column.setSpacing(7)
        if model is None:
            self._column.addWidget(label("Choose a model on the left.", role="soft"))
        else:
            self._fill(model)
        self._column.addStretch(1)
        self.setWidget(inside)

    def _fill(self, model: StoredModel) -> None:
        card = model.card
        self._column.addWidget(label(card.title if card else model.id, name="modelTitle", role="title", wrap=True))
        if card is None:
            self._column.addWidget(
                label(f"Cannot be used: {model.problem}", name="modelProblem", role="error", wrap=True)
            )
            self._facts([("Folder", str(model.folder))])
            return
        if card.description:
            self._column.addWidget(label(card.description, wrap=True))
        self._facts(self._rows(model, card))
        self._picture(model.folder / "sample.png", "modelSample", "What it gave on a sample image")
        self._metrics(card.metrics)
        self._part("Known to go wrong", [f"•  {text}" for text in card.failures])
        self._part("Intended use", [card.intended_use])
        self._part("Learnt from", [card.data])
        self._part("Training", [training_text(card.training)])
        self._curves(model.folder)
        self._part("Credit", [card.credit])
        if card.weights_sha256:
            digest = label(f"Weights SHA-256 {card.weights_sha256}", role="soft", wrap=True)
            digest.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._column.addWidget(digest)

    def _rows(self, model: StoredModel, card: ModelCard) -> list[tuple[str, str]]:
        names = [entry.title for entry in card.labels]
        more = len(names) - NAMED_LABELS
        finds = ", ".join(names[:NAMED_LABELS]) + (f" and {more} more" if more > 0 else "")
        task = self._app.models.task_of(model)
        state = "Came with the program" if model.shipped else f"Yours{f', from {model.source}' if model.source else ''}"
        if task is None:
            state += "; not used: another version of it is, or no plugin can run it"
        return [
            ("Finds", finds),
            ("On", ", ".join(card.modalities) or "any modality"),
            ("Images", " and ".join(card.channels) if len(card.channels) > 1 else ""),
            ("Licence", card.license),
            ("Version", f"{card.version}   ({model.id})"),
            ("Size", f"{self._app.models.size(model) / 1e6:.1f} MB"),
            ("Runs on", device_name(self._app.analyze.device)),
            ("Time here", self._time(model)),
            ("State", state),
        ]

    def _time(self, model: StoredModel) -> str:
        volume, task = self._app.workspace.active, self._app.models.task_of(model)
        if task is None or volume is None:
            return "open an image to see it" if task is not None else ""
        item = next((i for i in self._app.analyze.plan(volume.id) if i.task.id == task.id), None)
        if item is None:
            return ""
        if not item.fits:
            return f"not on the open image: {item.reason}"
        return f"about {duration(item.seconds)} on the open image" + (" (measured)" if item.measured else "")

    def _facts(self, rows: Sequence[tuple[str, str]]) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for name, text in rows:
            if text:
                row = grid.rowCount()
                grid.addWidget(label(name, role="soft"), row, 0, Qt.AlignmentFlag.AlignTop)
                grid.addWidget(label(text, name=f"modelFact.{name}", wrap=True), row, 1)
        self._column.addLayout(grid)

    def _part(self, title: str, texts: Sequence[str]) -> None:
        if not any(texts):
            return
        self._heading(title)
        for text in texts:
            self._column.addWidget(label(text, wrap=True))

    def _heading(self, text: str) -> None:
        self._column.addSpacing(6)
        self._column.addWidget(label(text, role="heading"))

    def _metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = list(dict.fromkeys(str(name) for row in rows for name in row))
        if not columns:
            return
        self._heading("Measured on cases it has not learnt from")
        holder = QWidget()
        holder.setObjectName("modelMetrics")
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(0, 1)
        for column, name in enumerate(columns):
            grid.addWidget(label(name.replace("_", " "), role="soft"), 0, column)
            for n, row in enumerate(rows, start=1):
                cell = label(metric_text(row.get(name)), wrap=column == 0)
                if isinstance(row.get(name), int | float) and column:
                    cell.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                grid.addWidget(cell, n, column)
        self._column.addWidget(holder)

    def _picture(self, path: Path, name: str, about: str) -> None:
        picture = read_picture(path)
        if picture is None:
            return
        shown = QLabel()
        shown.setObjectName(name)
        shown.setPixmap(picture)
        shown.setAccessibleName(about)
        self._column.addWidget(shown)

    def _curves(self, folder: Path) -> None:
        from medviewer.ui.curves import CurvesView, read_log

        log = read_log(folder)
        if log is not None:
            self._column.addWidget(CurvesView(log))
        else:
            self._picture(folder / "curves.png", "modelCurves", "Loss and measures while it was trained")


def read_picture(path: Path) -> QPixmap | None:
    """Return a picture of a model's folder, fitted to the card; None without one that can be read."""
    reader = QImageReader(str(path))
    reader.setAllocationLimit(PICTURE_MB)
    image = reader.read() if path.is_file() else None
    if image is None or image.isNull():
        return None
    if image.width() > PICTURE_WIDTH:
        image = image.scaledToWidth(PICTURE_WIDTH, Qt.TransformationMode.SmoothTransformation)
    return QPixmap.fromImage(image)


def metric_text(value: object) -> str:
    """Return a cell of the table of measures for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1 else f"{value:.4g}"
    return "" if value is None else str(value)


def training_text(training: Mapping[str, Any]) -> str:
    """Return how a model was trained, in one sentence."""
    parts = []
    if training.get("command"):
        parts.append(str(training["command"]))
    if isinstance(training.get("steps"), int):
        parts.append(counted(training["steps"], "step"))
    if isinstance(training.get("minutes"), int | float):
        parts.append(f"{training['minutes']:g} minutes")
    if training.get("device"):
        parts.append(f"on {training['device']}")
    return ", ".join(parts)
