"""Two segments of one image, or one and what it was: how much they agree, and where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QDialog, QFormLayout, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.compare import Comparison, counterparts
from medviewer.core.errors import MedViewerError
from medviewer.core.segmentation import Segment
from medviewer.core.shown_text import counted, shown
from medviewer.core.view_state import MaskDifference
from medviewer.jobs.job import Job
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
        self.setWindowTitle("Compare segments")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._volume_id = volume_id
        self._links = Links()
        self._found: Comparison | None = None
        self._shown: MaskDifference | None = None
        self._job: Job | None = None
        segmentation = app.workspace.segmentation(volume_id)
        segments = segmentation.segments
        self.first, self.second = _combo("compareFirst", segments), _combo("compareSecond", segments)
        self.when = self._make_when()
        pair = counterparts(segments) if len(segments) > 1 else (segments[0].value, segments[0].value)
        for combo, value in zip((self.first, self.second), pair, strict=True):
            combo.setCurrentIndex(combo.findData(value))
            combo.currentIndexChanged.connect(lambda _: self._compare())
        if len(segments) == 1:
            self.when.setCurrentIndex(min(1, self.when.count() - 1))
        self.when.currentIndexChanged.connect(lambda _: self._compare())
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("First", self.first)
        form.addRow("as it was", self.when)
        form.addRow("Second", self.second)
        names = ("Dice", "Sizes", "Distance", "Only")
        self._values = {name: label("…", name=f"compare{name}", role="number") for name in names}
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        for row, (name, about) in enumerate(
            (
                ("Dice", "Overlap (Dice)"),
                ("Sizes", "Size"),
                ("Distance", "Surface distance, 95 % (HD95)"),
                ("Only", "Voxels only first, only second, both"),
            )
        ):
            grid.addWidget(label(about, role="soft"), row, 0)
            grid.addWidget(self._values[name], row, 1)
        self.where = label("", name="compareWhere", role="soft", wrap=True)
        self.show_button = push_button(
            "compareShow", "Show the difference", self._toggle, picture="eye",
            tip="Show over the image, in the place of the segments, where one of the two is and where both are",
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
        self._links.connect(app.history.changed, self._steps_changed)
        self._compare()

    def _make_when(self) -> QComboBox:
        """List the steps that can be undone, newest first: before which of them the first segment is meant."""
        combo = QComboBox()
        combo.setObjectName("compareWhen")
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._fill_when(combo)
        return combo

    def _fill_when(self, combo: QComboBox) -> None:
        combo.addItem("now", 0)
        for ago, step in enumerate(reversed(self._app.history.done), start=1):
            combo.addItem(f"{counted(ago, 'step')} ago, before: {shown(step.label)}", ago)

    @property
    def _asked(self) -> tuple[int, int, int]:
        return int(self.first.currentData()), int(self.second.currentData()), int(self.when.currentData())

    def _compare(self) -> None:
        self._clear()
        first, second, ago = self._asked
        try:
            self._job = self._app.compare.start(self._volume_id, first, second, self._show, ago=ago)
        except MedViewerError as error:
            self.where.setText(error.text)
            self._hide_difference()

    def _steps_changed(self) -> None:
        """Compare again; a time in the past moves on with the work."""
        ago = int(self.when.currentData())
        self.when.blockSignals(True)
        self.when.clear()
        self._fill_when(self.when)
        self.when.setCurrentIndex(max(0, self.when.findData(ago)))
        self.when.blockSignals(False)
        self._compare()

    def _clear(self) -> None:
        """Forget the numbers; a picture that is shown stays until the next one is there."""
        if self._job is not None and not self._job.state.is_final:
            self._job.cancel()
        self._found = None
        self.show_button.setEnabled(self.show_button.isChecked())
        self.where.setText("")
        for value in self._values.values():
            value.setText("…")

    def _show(self, found: Comparison) -> None:
        if not self._links.open:
            return
        if found.asked != self._asked:
            return
        self._found = found
        one, two = found.sizes
        change = f"  ({(two - one) / one:+.1%})".replace("%", " %") if one else ""
        distance = found.agreement.hd95_mm
        length = "mm" if self._app.workspace.volume(self._volume_id).in_mm else "px"
        self._values["Dice"].setText(f"{found.agreement.dice:.3f}")
        digits = 2 if found.unit in ("ml", "mm²") else 0
        self._values["Sizes"].setText(f"{one:,.{digits}f} → {two:,.{digits}f} {found.unit}{change}")
        self._values["Distance"].setText("one of them is empty" if distance is None else f"{distance:.1f} {length}")
        self._values["Only"].setText("  ·  ".join(f"{count:,}" for count in found.counts))
        self.where.setText("Orange is what only the first has, blue what only the second has, green what both have.")
        self.show_button.setEnabled(True)
        if self.show_button.isChecked():
            self._toggle()

    def _toggle(self) -> None:
        if self._found is not None and self.show_button.isChecked():
            self._shown = self._found.difference
            self._app.compare.show_difference(self._volume_id, self._found)
        else:
            self._hide_difference()

    def _hide_difference(self) -> None:
        view = self._app.workspace.view
        if view.difference is self._shown:
            view.difference = None
        self.show_button.setChecked(False)

    def done(self, result: int) -> None:
        """Close; the image is shown alone again."""
        if self._job is not None:
            self._job.cancel()
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
