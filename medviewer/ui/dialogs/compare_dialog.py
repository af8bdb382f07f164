"""Two segments of one image beside each other: how much they agree, and where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QDialog, QFormLayout, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.compare import Comparison, counterparts
from medviewer.core.errors import MedViewerError
from medviewer.core.segmentation import Segment
from medviewer.ui.bind import Links
from medviewer.ui.icons import swatch
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


class CompareDialog(QDialog):
    """Compares as soon as two segments are chosen; the difference can be laid over the image."""

    def __init__(self, app: AppContext, volume_id: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compareDialog")
        self.setWindowTitle("Compare two segments")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._volume_id = volume_id
        self._links = Links()
        self._found: Comparison | None = None
        segments = app.workspace.segmentation(volume_id).segments
        self.first, self.second = _combo("compareFirst", segments), _combo("compareSecond", segments)
        for combo, value in zip((self.first, self.second), counterparts(segments), strict=True):
            combo.setCurrentIndex(combo.findData(value))
            combo.currentIndexChanged.connect(lambda _: self._compare())
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("First", self.first)
        form.addRow("Second", self.second)
        names = ("Dice", "Sizes", "Distance")
        self._values = {name: label("…", name=f"compare{name}", role="number") for name in names}
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        for row, (name, about) in enumerate(
            (("Dice", "Overlap (Dice)"), ("Sizes", "Volume"), ("Distance", "Surface distance, 95 % (HD95)"))
        ):
            grid.addWidget(label(about, role="soft"), row, 0)
            grid.addWidget(self._values[name], row, 1)
        self.where = label("", name="compareWhere", role="soft", wrap=True)
        self.show_button = push_button(
            "compareShow", "Show the difference", self._toggle, picture="eye",
            tip="Lay over the image where only one of the two is",
        )  # fmt: skip
        self.show_button.setCheckable(True)
        buttons = QHBoxLayout()
        buttons.addWidget(self.show_button)
        buttons.addStretch(1)
        buttons.addWidget(push_button("compareClose", "Close", self.close))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(14)
        layout.addLayout(form)
        layout.addLayout(grid)
        layout.addWidget(self.where)
        layout.addStretch(1)
        layout.addLayout(buttons)
        self.setMinimumWidth(520)
        self._links.connect(app.workspace.active_changed, lambda _: self.close())
        self._compare()

    def _compare(self) -> None:
        self._clear()
        first, second = int(self.first.currentData()), int(self.second.currentData())
        try:
            self._app.compare.start(self._volume_id, first, second, self._show)
        except MedViewerError as error:
            self.where.setText(error.text)

    def _clear(self) -> None:
        self._hide_difference()
        self._found = None
        self.show_button.setEnabled(False)
        self.where.setText("")
        for value in self._values.values():
            value.setText("…")

    def _show(self, found: Comparison) -> None:
        if not self._links.open:
            return
        if (self.first.currentData(), self.second.currentData()) != (found.first.value, found.second.value):
            return
        self._found = found
        one, two = found.sizes
        change = f"  ({(two - one) / one:+.1%})".replace("%", " %") if one else ""
        distance = found.agreement.hd95_mm
        length = "mm" if self._app.workspace.volume(self._volume_id).in_mm else "px"
        self._values["Dice"].setText(f"{found.agreement.dice:.3f}")
        self._values["Sizes"].setText(f"{one:.2f} {found.unit} → {two:.2f} {found.unit}{change}")
        self._values["Distance"].setText("one of them is empty" if distance is None else f"{distance:.1f} {length}")
        self.where.setText("The difference shows in orange what only the first has, in white what only the second has.")
        self.show_button.setEnabled(True)

    def _toggle(self) -> None:
        if self._found is not None and self.show_button.isChecked():
            self._app.compare.show_difference(self._volume_id, self._found)
        else:
            self._hide_difference()

    def _hide_difference(self) -> None:
        overlay = self._app.workspace.overlay
        if self._found is not None and overlay is not None and overlay.volume is self._found.difference:
            self._app.workspace.overlay = None
        self.show_button.setChecked(False)

    def done(self, result: int) -> None:
        """Close; the image is shown alone again."""
        self._hide_difference()
        self._links.close()
        super().done(result)


def _combo(name: str, segments: tuple[Segment, ...]) -> QComboBox:
    combo = QComboBox()
    combo.setObjectName(name)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    for segment in segments:
        maker = " ".join(part for part in (segment.provenance.task, segment.provenance.model_version) if part)
        combo.addItem(swatch(segment.color), f"{segment.name}   ({maker})", segment.value)
    return combo
