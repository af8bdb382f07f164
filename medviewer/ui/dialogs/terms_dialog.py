"""What a segment is, in codes of DICOM and SNOMED CT: searched by name, refined by side and region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.errors import MedViewerError
from medviewer.core.terminology import CodedConcept
from medviewer.io.terminology import Term, modifiers, regions, term_groups
from medviewer.ui.bind import Links
from medviewer.ui.icons import icon, swatch
from medviewer.ui.text import label, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

TERM = Qt.ItemDataRole.UserRole


class TermsDialog(QDialog):
    """Describes one segment; OK is one step."""

    def __init__(self, app: AppContext, volume_id: str, value: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("termsDialog")
        self.setWindowTitle("Describe segment")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app, self._volume_id, self._value = app, volume_id, value
        self._links = Links()
        segment = app.workspace.segmentation(volume_id).segment(value)
        self._term = Term.of(segment)
        self.search = QLineEdit()
        self.search.setObjectName("termSearch")
        self.search.setPlaceholderText("Search: liver, metastasis, rib left 3")
        self.search.setClearButtonEnabled(True)
        self.group = QComboBox()
        self.group.setObjectName("termGroup")
        self.group.addItem("All vocabularies")
        self.group.addItems([group.name for group in term_groups()])
        self.list = QListWidget()
        self.list.setObjectName("termList")
        self.list.setUniformItemSizes(True)
        self.list.setMinimumHeight(220)
        self.name = QLineEdit(segment.label)
        self.name.setObjectName("termName")
        self.take_color = QCheckBox("Take the colour of the vocabulary")
        self.take_color.setObjectName("termColor")
        self.type = label("", name="termType", wrap=True)
        self.modifier = _concepts("termModifier", modifiers(), self._term.type_modifier)
        self.region = _concepts("termRegion", regions(), self._term.region)
        self.region_modifier = _concepts("termRegionModifier", modifiers(), self._term.region_modifier)
        self._lay_out()
        self.search.textChanged.connect(self._fill)
        self.group.currentIndexChanged.connect(self._fill)
        self.list.currentItemChanged.connect(self._chosen)
        self.list.itemDoubleClicked.connect(lambda _: self.accept())
        self._links.connect(app.workspace.active_changed, lambda _: self.reject())
        self._fill()
        self._show()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Is", self.type)
        form.addRow("Side", self.modifier)
        form.addRow("In region", self.region)
        form.addRow("Side of region", self.region_modifier)
        form.addRow("Name", self.name)
        form.addRow("", self.take_color)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(10)
        for widget in (self.search, self.group, self.list):
            layout.addWidget(widget)
        layout.addLayout(form)
        layout.addWidget(buttons)
        self.setMinimumWidth(520)

    def _fill(self, *_: object) -> None:
        """List what holds every word that is searched."""
        words = self.search.text().lower().replace("_", " ").split()
        groups = term_groups()
        chosen = groups if self.group.currentIndex() <= 0 else (groups[self.group.currentIndex() - 1],)
        self.list.clear()
        seen: set[Term] = set()
        for group in chosen:
            for term in group.terms:
                text = _title(term)
                if term in seen or not all(word in text.lower() for word in words):
                    continue
                seen.add(term)
                item = QListWidgetItem(swatch(term.color) if term.color else icon("dot", "disabled"), text)
                item.setData(TERM, term)
                item.setToolTip(plain_tip(f"{group.name}\n{_codes(term)}"))
                self.list.addItem(item)

    def _chosen(self, item: QListWidgetItem | None, _before: object = None) -> None:
        if item is None:
            return
        term: Term = item.data(TERM)
        self._term = term
        self.name.setText(term.name.replace("_", " "))
        for combo, concept in (
            (self.modifier, term.type_modifier),
            (self.region, term.region),
            (self.region_modifier, term.region_modifier),
        ):
            _select(combo, concept)
        self.take_color.setChecked(term.color is not None)
        self._show()

    def _show(self) -> None:
        self.type.setText(f"{self._term.type.code_meaning}, {self._term.category.code_meaning.lower()}")
        self.type.setToolTip(plain_tip(_codes(self._term)))
        self.take_color.setEnabled(self._term.color is not None and self.list.currentItem() is not None)

    @property
    def term(self) -> Term:
        """What is described now."""
        region = self.region.currentData()
        return replace(
            self._term,
            name=self.name.text().strip() or self._term.name,
            color=self._term.color if self.take_color.isChecked() else None,
            type_modifier=self.modifier.currentData(),
            region=region,
            region_modifier=self.region_modifier.currentData() if region is not None else None,
        )

    def accept(self) -> None:
        """Describe the segment; it may be gone meanwhile."""
        try:
            if self._app.workspace.segmentation(self._volume_id).find(self._value) is not None:
                self._app.segments.describe(self._volume_id, self._value, self.term)
        except MedViewerError as error:
            self._app.messages.error(error)
        super().accept()

    def done(self, result: int) -> None:
        """Disconnect from everything."""
        self._links.close()
        super().done(result)


def _title(term: Term) -> str:
    """Return what is searched and shown: name, what it is, side, region."""
    name = term.name.replace("_", " ")
    concepts = (term.type, term.type_modifier, term.region_modifier, term.region)
    more = [c.code_meaning for c in concepts if c is not None and c.code_meaning.lower() not in name.lower()]
    return f"{name}  ·  {', '.join(more)}" if more else name


def _codes(term: Term) -> str:
    concepts = [concept for concept in term.codes.values() if concept is not None]
    return "\n".join(f"{c.code_meaning} ({c.code_value}, {c.coding_scheme_designator})" for c in concepts)


def _concepts(name: str, concepts: Sequence[CodedConcept], chosen: CodedConcept | None) -> QComboBox:
    combo = QComboBox()
    combo.setObjectName(name)
    combo.addItem("—", None)
    for concept in concepts:
        combo.addItem(concept.code_meaning, concept)
    _select(combo, chosen)
    return combo


def _select(combo: QComboBox, concept: CodedConcept | None) -> None:
    """Choose a concept by its code; one that is not listed is added."""
    for n in range(combo.count()):
        data = combo.itemData(n)
        if (data is None) == (concept is None) and (concept is None or data.code_value == concept.code_value):
            combo.setCurrentIndex(n)
            return
    assert concept is not None
    combo.addItem(concept.code_meaning, concept)
    combo.setCurrentIndex(combo.count() - 1)
