"""Which images, and which of their segments, are exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QTreeWidget, QTreeWidgetItem, QWidget

from medviewer.core.volume import Volume
from medviewer.ui.icons import swatch
from medviewer.ui.panels.volumes import volume_title
from medviewer.ui.text import counted, plain_tip

if TYPE_CHECKING:
    from medviewer.core.workspace import Workspace

ID = Qt.ItemDataRole.UserRole
ROW = QSize(0, 25)
_TICKABLE = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable


class ExportChoice(QTreeWidget):
    """Images with a tick, and under each its segments with one of their own; at first all of the active image.

    Signals
    -------
    edited()
        A tick was set or taken away.
    """

    edited = Signal()

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("exportVolumes")
        self.setAccessibleName("Images and segments")
        self.setHeaderHidden(True)
        self.setUniformRowHeights(True)
        self.setIndentation(18)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        for volume in workspace.volumes:
            self._add(workspace, volume)
        self.expandAll()
        self.itemChanged.connect(lambda *_: self.edited.emit())

    def _add(self, workspace: Workspace, volume: Volume) -> None:
        segments = workspace.segmentation(volume.id).segments
        boxes = workspace.boxes(volume.id)
        text = f"{volume_title(volume)}   {counted(len(segments), 'segment')}, {counted(len(boxes), 'finding')}"
        item = QTreeWidgetItem([text])
        item.setToolTip(0, plain_tip(text))
        item.setData(0, ID, volume.id)
        item.setSizeHint(0, ROW)
        ticked = workspace.active is volume and bool(segments or boxes)
        state = Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
        if not (segments or boxes):
            item.setFlags(Qt.ItemFlag.NoItemFlags)
        elif segments:
            item.setFlags(_TICKABLE | Qt.ItemFlag.ItemIsAutoTristate)
        else:
            item.setFlags(_TICKABLE)
        item.setCheckState(0, state)
        self.addTopLevelItem(item)
        for segment in segments:
            row = QTreeWidgetItem([segment.name])
            row.setIcon(0, swatch(segment.color))
            row.setToolTip(0, plain_tip(segment.name))
            row.setData(0, ID, segment.value)
            row.setSizeHint(0, ROW)
            row.setFlags(_TICKABLE)
            row.setCheckState(0, state)
            item.addChild(row)

    @property
    def chosen(self) -> dict[str, tuple[int, ...]]:
        """Id of each image that has a tick -> values of its segments that have one."""
        found: dict[str, tuple[int, ...]] = {}
        for n in range(self.topLevelItemCount()):
            item = self.topLevelItem(n)
            if item is None or item.checkState(0) is Qt.CheckState.Unchecked:
                continue
            rows = [item.child(row) for row in range(item.childCount())]
            found[str(item.data(0, ID))] = tuple(
                int(row.data(0, ID)) for row in rows if row is not None and row.checkState(0) is Qt.CheckState.Checked
            )
        return found
