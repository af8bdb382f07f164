"""The models in the window: their cards, the plan of Analyze, and two results beside each other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QWidget,
)
from pytestqt.qtbot import QtBot

from medviewer.ai.weights import ModelStore
from medviewer.api.plugin import LabelResult, TaskInfo
from medviewer.app.apply_results import ResultApplier
from medviewer.app.context import AppContext
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.editing.editor import LabelEditor
from medviewer.jobs.job import JobContext, JobState
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.ui.curves import read_log, write_curves
from medviewer.ui.dialogs import models_dialog
from medviewer.ui.main_window import MainWindow
from tests.conftest import ROOT
from tests.model_makers import write_model
from tests.model_server import Behaviour, serving

WAIT_MS = 60_000
LOG = {
    "losses": [[20 * n, 1.0 / n] for n in range(1, 60)],
    "metrics": [[n, {"dice": 0.5 + n / 4000, "sensitivity": 0.9}] for n in (400, 800, 1200)],
}
METRICS = (
    {"measure": "Dice, thing", "cases": 43, "value": 0.8913, "bar": 0.89, "met": True},
    {"measure": "false positives a scan", "cases": 43, "value": 3.25, "bar": 4.0, "met": True},
)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A shipped model with a card that says everything, one of the user's, and one that is broken."""
    shipped = write_model(
        tmp_path / "shipped" / "thing_finder",
        "thing_finder",
        title="Thing finder",
        version="1.2",
        description="Finds things <b>anywhere</b>.",
        task={"auto": True, "seconds_per_megavoxel": 0.1},
        metrics=METRICS,
        failures=("Things in a bag are taken for bags.",),
        data="43 scans with things, by the makers of things.",
        credit="The makers of things.",
        training={"steps": 1200, "minutes": 30, "device": "cpu"},
    )
    (shipped / "log.json").write_text(json.dumps(LOG))
    picture = QImage(900, 300, QImage.Format.Format_RGB32)
    picture.fill(Qt.GlobalColor.darkCyan)
    picture.save(str(shipped / "sample.png"))
    write_model(tmp_path / "own" / "other", "other", title="Other", license="CC BY-NC 4.0", task={"auto": True})
    broken = write_model(tmp_path / "own" / "broken", "broken")
    (broken / "model.json").write_text('{"format": "medviewer-model"')
    return ModelStore(tmp_path / "shipped", tmp_path / "own")


@pytest.fixture
def with_models(app: AppContext, store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> AppContext:
    """The application with the program's own plugins, of whose tasks only the models' are left."""
    every = PluginRegistry.tasks.fget
    assert every is not None
    monkeypatch.setattr(PluginRegistry, "tasks", property(lambda self: tuple(t for t in every(self) if t.model)))
    app.plugins.discover([ROOT / "plugins"], store)
    app.models.store = store
    return app


@pytest.fixture
def dialog(qtbot: QtBot, with_models: AppContext, window: MainWindow) -> Iterator[QDialog]:
    window.commands.run("models")
    found = window.findChild(QDialog, "modelsDialog")
    assert found.isVisible()
    yield found
    found.close()


def texts(widget: QWidget) -> str:
    return "\n".join(found.text() for found in widget.findChildren(QLabel))


def test_every_model_has_its_card(qtbot: QtBot, dialog: QDialog) -> None:
    rows = dialog.findChild(QListWidget, "modelsList")
    lines = [rows.item(n).text().splitlines() for n in range(rows.count())]
    assert [line[0] for line in lines] == ["Thing finder", "Other", "broken"]
    assert lines[0][1] == "CT · 1.2 · shipped"
    assert lines[1][1].endswith("licence to accept")
    assert lines[2][1] == "Cannot be used"
    card = dialog.findChild(QScrollArea, "modelCard")
    said = texts(card)
    for part in ("Thing finder", "Finds things <b>anywhere</b>.", "Things in a bag", "0.891", "43 scans", "1200 steps"):
        assert part in said
    assert card.findChild(QLabel, "modelFact.Finds").text() == "Thing"
    assert card.findChild(QLabel, "modelFact.Licence").text() == "Apache-2.0"
    assert "MB" in card.findChild(QLabel, "modelFact.Size").text()
    assert card.findChild(QLabel, "modelSample").pixmap().width() == 560
    assert card.findChild(QWidget, "trainingCurves") is not None
    assert not dialog.findChild(QPushButton, "modelRemove").isEnabled(), "what came with the program stays"
    rows.setCurrentRow(2)
    assert "it is not JSON" in dialog.findChild(QLabel, "modelProblem").text()


def test_a_licence_is_accepted_and_a_model_removed(
    qtbot: QtBot, app: AppContext, dialog: QDialog, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = dialog.findChild(QListWidget, "modelsList")
    rows.setCurrentRow(1)
    accept = dialog.findChild(QPushButton, "modelLicense")
    assert accept.isVisible()
    QTimer.singleShot(0, lambda: dialog.findChild(QPushButton, "licenseAccept").click())
    accept.click()
    qtbot.waitUntil(lambda: not accept.isVisible())
    assert rows.item(1).text().endswith("yours")
    assert not app.models.must_accept(app.plugins.task("other"))
    monkeypatch.setattr(models_dialog, "ask_yes_no", lambda *_: True)
    dialog.findChild(QPushButton, "modelRemove").click()
    qtbot.waitUntil(lambda: rows.count() == 2, timeout=WAIT_MS)
    assert not (store.own / "other").exists()
    assert [task.id for task in app.plugins.tasks] == ["thing_finder"]
    assert app.messages.messages[-1].text == "Removed the model other."


def test_a_model_is_imported_and_chosen(
    qtbot: QtBot, app: AppContext, dialog: QDialog, store: ModelStore, tmp_path: Path
) -> None:
    assert isinstance(dialog, models_dialog.ModelsDialog)
    rows = dialog.findChild(QListWidget, "modelsList")
    new = write_model(tmp_path / "given" / "new", "new", title="New one")
    dialog.add(shutil.make_archive(str(tmp_path / "new"), "zip", new.parent) and tmp_path / "new.zip")
    qtbot.waitUntil(lambda: rows.count() == 4, timeout=WAIT_MS)
    assert "New one" in [rows.item(n).text().splitlines()[0] for n in range(4)]
    assert not dialog.findChild(QWidget, "modelsProgress").isVisible()
    (tmp_path / "no.txt").write_text("no model")
    dialog.add(tmp_path / "no.txt")
    said = dialog.findChild(QLabel, "modelsSaid")
    qtbot.waitUntil(said.isVisible, timeout=WAIT_MS)
    assert "no.txt" in said.text()


def test_a_model_is_downloaded_with_progress_and_refused_with_another_hash(
    qtbot: QtBot, app: AppContext, dialog: QDialog, store: ModelStore, tmp_path: Path
) -> None:
    new = write_model(tmp_path / "given" / "new", "new", title="New one")
    data = Path(shutil.make_archive(str(tmp_path / "new"), "zip", new.parent)).read_bytes()
    rows = dialog.findChild(QListWidget, "modelsList")
    with serving(Behaviour(data)) as address:
        ask_download(dialog, address, "00" * 32)
        said = dialog.findChild(QLabel, "modelsSaid")
        qtbot.waitUntil(said.isVisible, timeout=WAIT_MS)
        assert "hash differs" in said.text()
        assert rows.count() == 3
        ask_download(dialog, address, hashlib.sha256(data).hexdigest())
        qtbot.waitUntil(lambda: rows.count() == 4, timeout=WAIT_MS)
    assert not said.isVisible()


def test_a_download_is_cancelled_where_it_is_shown(
    qtbot: QtBot, app: AppContext, dialog: QDialog, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = Event()

    def slow(ctx: JobContext, store: ModelStore, address: str, sha256: str) -> None:
        ctx.progress(0.25, "1 MB")
        began.set()
        while True:
            ctx.check_cancelled()

    monkeypatch.setattr("medviewer.ai.model_download.download_model", slow)
    ask_download(dialog, "a/b@c/d", "00" * 32)
    bar = dialog.findChild(QProgressBar, "modelsProgressBar")
    qtbot.waitUntil(lambda: bar.isVisible() and bar.value() == 250, timeout=WAIT_MS)
    dialog.findChild(QPushButton, "modelsProgressCancel").click()
    qtbot.waitUntil(lambda: not bar.isVisible())
    assert app.jobs.jobs[-1].state is JobState.CANCELLED


def ask_download(dialog: QDialog, address: str, sha256: str) -> None:
    dialog.findChild(QPushButton, "modelDownload").click()
    asked = [d for d in dialog.findChildren(QDialog, "modelDownloadDialog") if d.isVisible()][-1]
    start = asked.findChild(QPushButton, "startDownload")
    assert not start.isEnabled()
    asked.findChild(QLineEdit, "downloadAddress").setText(address)
    asked.findChild(QLineEdit, "downloadHash").setText(sha256)
    start.click()


def test_the_window_imports_no_torch_for_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, medviewer.app.models, medviewer.ui.dialogs.models_dialog; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ---- the plan


@pytest.fixture
def plan(qtbot: QtBot, with_models: AppContext, window: MainWindow, opened: Volume) -> QDialog:
    window.commands.run("analyze")
    found = window.findChild(QDialog, "analyzeDialog")
    assert found.isVisible(), "the first time the plan is shown"
    return found


def test_the_plan_says_where_how_long_and_under_which_licence(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, plan: QDialog, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = texts(plan)
    for part in ("Runs on", "GPU or CPU", "about 1.0 s", "Memory", " GB", "Apache-2.0"):
        assert part in said
    mine = plan.findChild(QCheckBox, "analyze.other")
    assert not mine.isEnabled(), "a licence is to be accepted first"
    QTimer.singleShot(0, lambda: plan.findChild(QPushButton, "licenseAccept").click())
    plan.findChild(QPushButton, "accept.other").click()
    assert mine.isChecked()
    mine.setChecked(False)
    plan.findChild(QPushButton, "options.thing_finder").click()
    qtbot.waitUntil(lambda: plan.findChild(QWidget, "planForm.thing_finder") is not None, timeout=WAIT_MS)
    form = plan.findChild(QWidget, "planForm.thing_finder")
    form.findChild(QCheckBox, "param.uncertainty").setChecked(True)
    plan.findChild(QPushButton, "startAnalyze").click()
    qtbot.waitUntil(lambda: bool(app.workspace.runs), timeout=WAIT_MS)
    run = app.workspace.runs[0]
    assert (run.model, run.model_version, run.parameters["uncertainty"]) == ("thing_finder", "1.2", True)
    assert run.weights_sha256 == app.models.all()[0].card.weights_sha256  # type: ignore[union-attr]
    (said_of,) = app.workspace.assessments(opened.id)
    assert "Uncertainty" in [m.name for m in said_of.maps]
    app.undo()
    window.commands.run("analyze")
    qtbot.waitUntil(lambda: len(app.workspace.runs) == 2, timeout=WAIT_MS)
    assert window.findChild(QDialog, "analyzeDialog") is None, "nothing is new: one click runs it"
    assert app.workspace.runs[1].parameters["uncertainty"] is True
    (item,) = (item for item in app.analyze.plan(opened.id) if item.task.id == "thing_finder")
    assert item.measured
    assert item.device == "cpu"


def test_a_licence_is_shown_whole_and_enter_does_not_accept_it(qtbot: QtBot, plan: QDialog) -> None:
    seen: list[str] = []

    def refuse() -> None:
        box = plan.findChild(QDialog, "licenseBox")
        text = box.findChild(QPlainTextEdit, "licenseText")
        seen.extend((box.findChild(QLabel, "licenseName").text(), text.toPlainText()))
        assert text.isReadOnly()
        assert text.verticalScrollBar().maximum() > 0
        if folder := os.environ.get("MEDVIEWER_SHOTS"):
            box.grab().save(str(Path(folder) / "licence.png"))
        QTest.keyClick(box, Qt.Key.Key_Return)

    QTimer.singleShot(0, refuse)
    plan.findChild(QPushButton, "accept.other").click()
    assert seen[0] == "Licence: CC BY-NC 4.0"
    assert "NonCommercial means not primarily intended for or directed towards commercial advantage" in seen[1]
    assert not plan.findChild(QCheckBox, "analyze.other").isEnabled()


# ---- two results


def test_two_models_are_compared(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    applier = ResultApplier(app.workspace, app.history)
    for n, task_id in enumerate(("one", "two")):
        labels = np.zeros(opened.geometry.shape, np.uint16)
        labels[10 : 20 + 2 * n, 10:20, 10:20] = 1
        task = TaskInfo(id=task_id, title=task_id, kind="segmentation", entry="m:C", inputs={"image": "volume"})
        result = LabelResult("Left lung", labels, opened.geometry, (Segment(1, "Left lung"),))
        applier.apply(opened.id, task, [result], Provenance(task=task_id, model=task_id, model_version="1.0"))
    qtbot.waitUntil(lambda: window.commands.by_id["compare"].isEnabled())
    window.commands.run("compare")
    dialog = window.findChild(QDialog, "compareDialog")
    dice = dialog.findChild(QLabel, "compareDice")
    qtbot.waitUntil(lambda: dice.text() != "…", timeout=WAIT_MS)
    assert dice.text() == f"{2 * 10 / 22:.3f}"
    assert "+20.0 %" in dialog.findChild(QLabel, "compareSizes").text()
    assert dialog.findChild(QLabel, "compareDistance").text().endswith(" mm")
    show = dialog.findChild(QPushButton, "compareShow")
    show.click()
    difference = app.workspace.view.difference
    assert difference is not None
    assert difference.region.slices == (slice(10, 22), slice(10, 20), slice(10, 20))
    assert np.bincount(difference.codes.ravel(), minlength=4).tolist() == [0, 0, 200, 1000]
    assert dialog.findChild(QLabel, "compareOnly").text() == "0  ·  200  ·  1,000"
    second = dialog.findChild(QComboBox, "compareSecond")
    second.setCurrentIndex(1 - second.currentIndex())
    dialog.close()
    assert app.workspace.view.difference is None
    qtbot.waitUntil(lambda: not app.jobs.running, timeout=WAIT_MS)


def test_a_segment_is_compared_with_what_it_was(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    segment = app.segments.add(opened.id, "one")
    editor = LabelEditor(app.workspace, app.history, opened.id)

    def paint(label: str, box: Region, value: int | None = None) -> None:
        with editor.stroke(label, segment.value) as stroke:
            stroke.paint(box, np.ones(box.shape, bool), value)

    paint("First", Region((2, 2, 2), (6, 6, 6)))
    paint("Second", Region((2, 2, 6), (6, 6, 8)))
    paint("Third", Region((2, 2, 2), (3, 6, 6)), 0)
    before = app.workspace.segmentation(opened.id).group(segment.group).labels.copy()
    qtbot.waitUntil(lambda: window.commands.by_id["compare"].isEnabled())
    window.commands.run("compare")
    dialog = window.findChild(QDialog, "compareDialog")
    when, only = dialog.findChild(QComboBox, "compareWhen"), dialog.findChild(QLabel, "compareOnly")
    assert [when.itemText(n).split(": ")[-1] for n in range(1, 4)] == ["Third", "Second", "First"]
    when.setCurrentIndex(2)
    qtbot.waitUntil(lambda: only.text() == "16  ·  32  ·  48", timeout=WAIT_MS)
    show = dialog.findChild(QPushButton, "compareShow")
    show.click()
    difference = app.workspace.view.difference
    assert difference is not None
    assert difference.names == ("one, 2 steps ago", "one")
    assert np.array_equal(before, app.workspace.segmentation(opened.id).group(segment.group).labels)
    # The picture goes on with the work.
    paint("Fourth", Region((8, 8, 8), (9, 9, 9)))
    qtbot.waitUntil(lambda: app.workspace.view.difference is not difference, timeout=WAIT_MS)
    assert only.text() == "16  ·  1  ·  80", "before the last two steps now"
    dialog.close()
    assert app.workspace.view.difference is None
    qtbot.waitUntil(lambda: not app.jobs.running, timeout=WAIT_MS)


# ---- curves


def test_curves_are_drawn_and_written(qtbot: QtBot, tmp_path: Path, window: MainWindow) -> None:
    (tmp_path / "log.json").write_text(json.dumps(LOG))
    log = read_log(tmp_path)
    assert log is not None
    assert len(log.losses) == 59
    write_curves(log, tmp_path / "curves.png")
    picture = QPixmap(str(tmp_path / "curves.png"))
    assert (picture.width(), picture.height()) == (900, 320)
    image = picture.toImage()
    seen = {image.pixelColor(x, y).name() for x in range(0, 900, 3) for y in range(0, 320, 3)}
    assert len(seen) > 20, "there are lines and letters"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"losses": [[1]], "metrics": []}', '{"losses": [], "metrics": []}'])
def test_a_damaged_log_has_no_curves(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.json").write_text(text)
    assert read_log(tmp_path) is None
    assert read_log(tmp_path / "absent") is None
