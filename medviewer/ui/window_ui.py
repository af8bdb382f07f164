"""What a command may ask of the window (`medviewer.app.actions.Ui`): choose, confirm, show a dialog."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog

from medviewer.core.errors import InputError, MedViewerError
from medviewer.export.names import safe_name
from medviewer.io.atomic import atomic_write
from medviewer.ui.dialogs.questions import DocumentAnswer, ask_about_document, ask_choice, ask_fraction, ask_yes_no

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.encapsulated import EncapsulatedDocument
    from medviewer.io.report import Report
    from medviewer.ui.dialogs.library import LibraryDialog
    from medviewer.ui.dialogs.models_dialog import ModelsDialog
    from medviewer.ui.dialogs.pacs_dialog import PacsDialog
    from medviewer.ui.main_window import MainWindow


class WindowUi:
    """Answers for one window. Dialogs are imported when they are shown, which keeps the start short."""

    def __init__(self, app: AppContext, window: MainWindow) -> None:
        self._app = app
        self._window = window
        self._library: LibraryDialog | None = None
        self._pacs: PacsDialog | None = None
        self._models: ModelsDialog | None = None

    def ask_open_paths(self) -> list[Path]:
        """Let the user choose files."""
        names, _ = QFileDialog.getOpenFileNames(self._window, "Open files or zip", self._last_folder(), "All files (*)")
        return [Path(name) for name in names]

    def ask_open_folder(self) -> list[Path]:
        """Let the user choose a folder."""
        name = QFileDialog.getExistingDirectory(self._window, "Open a folder with images", self._last_folder())
        return [Path(name)] if name else []

    def ask_segment_paths(self) -> list[Path]:
        """Let the user choose files of segments."""
        pictures = "*.png *.tif *.tiff *.gif *.bmp"
        kinds = f"Segments (*.dcm *.seg *.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd {pictures});;All files (*)"
        names, _ = QFileDialog.getOpenFileNames(self._window, "Load segments", self._last_folder(), kinds)
        return [Path(name) for name in names]

    def ask_save_path(self, suffix: str) -> Path | None:
        """Let the user choose where to save."""
        name, _ = QFileDialog.getSaveFileName(
            self._window, "Save workspace", str(self._proposed(suffix)), f"MedViewer workspace (*{suffix})"
        )
        if not name:
            return None
        path = Path(name)
        return path if path.suffix == suffix else path.with_name(path.name + suffix)

    def allowed(self, paths: Sequence[Path]) -> list[Path]:
        """Return what may be opened: a saved workspace takes the place of what is open, so ask when that is unsaved."""
        replaces = any(path.suffix == ".mvw" for path in paths)
        if replaces and self._app.has_unsaved_work and not self.confirm("Drop the work that is not saved?"):
            return []
        return list(paths)

    def confirm(self, text: str) -> bool:
        """Ask a yes-or-no question."""
        return ask_yes_no(self._window, text)

    def ask_threshold(self, text: str) -> float | None:
        """Ask from which fraction on a voxel belongs to a segment."""
        return ask_fraction(self._window, text)

    def ask_part(self, text: str, choices: Sequence[str]) -> int | None:
        """Ask what to open of a series that is too large."""
        return ask_choice(self._window, text, choices)

    def show_about(self) -> None:
        """Show the About box."""
        from medviewer.ui.dialogs.about import AboutBox

        AboutBox(self._window).open()

    def show_notice(self) -> None:
        """Show the notice of the first start, until it has been confirmed once."""
        from medviewer.ui.dialogs.about import AboutBox

        if not self._app.settings.notice_read:
            box = AboutBox(self._window, first_start=True)
            box.accepted.connect(self._notice_read)
            box.open()

    def show_recovery(self) -> None:
        """Offer what crashed sessions left, if they left something."""
        from medviewer.ui.dialogs.recovery import RecoveryDialog

        left = self._app.documents.recoverable()
        if left:
            RecoveryDialog(self._app, left, self._window).open()

    def show_report(self, report: Report) -> None:
        """Show what a report says."""
        from medviewer.ui.dialogs.report_dialog import ReportDialog

        ReportDialog(self._app, report, self._window).show()

    def offer_document(self, document: EncapsulatedDocument) -> None:
        """Offer to save a document that a DICOM file holds, and to show a PDF with the system's viewer."""
        size = f"{len(document.data) / 1024:,.0f} KB"
        answer = ask_about_document(
            self._window, f"“{document.title}” is a {document.what} of {size}.", viewable=document.viewable
        )
        if answer is DocumentAnswer.CANCEL:
            return
        proposed = Path(self._last_folder()) / f"{safe_name(document.title)}{document.suffix}"
        kinds = f"{document.what} (*{document.suffix})"
        name, _ = QFileDialog.getSaveFileName(self._window, "Save document", str(proposed), kinds)
        if not name:
            return
        # The ending decides which program opens it.
        path = Path(name) if name.lower().endswith(document.suffix) else Path(f"{name}{document.suffix}")
        try:
            with atomic_write(path, InputError) as file:
                file.write(document.data)
        except MedViewerError as error:
            self._app.messages.error(error, f"Cannot save {path.name}")
            return
        self._app.messages.add("info", f"Saved {path.name}.")
        if answer is DocumentAnswer.SAVE_AND_OPEN:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))

    def show_export(self) -> None:
        """Show the export dialog."""
        from medviewer.ui.dialogs.export_dialog import ExportDialog

        ExportDialog(self._app, self.show_pacs, self._window).open()

    def show_analyze(self) -> None:
        """Show what Analyze would run."""
        from medviewer.ui.dialogs.analyze_dialog import AnalyzeDialog

        volume = self._app.workspace.active
        if volume is not None:
            AnalyzeDialog(self._app, volume.id, self._window).open()

    def show_models(self) -> None:
        """Show the models, or bring them to the front."""
        from medviewer.ui.dialogs.models_dialog import ModelsDialog

        if self._models is None:
            self._models = ModelsDialog(self._app, self._window)
            self._models.finished.connect(self._models_closed)
        self._models.show()
        self._models.raise_()
        self._models.activateWindow()

    def _models_closed(self) -> None:
        self._models = None

    def show_terms(self) -> None:
        """Let the user say what the active segment is."""
        from medviewer.ui.dialogs.terms_dialog import TermsDialog

        segmentation = self._app.workspace.active_segmentation
        if segmentation is not None and segmentation.active:
            TermsDialog(self._app, segmentation.volume_id, segmentation.active, self._window).open()

    def show_compare(self) -> None:
        """Compare two segments of the image that is looked at."""
        from medviewer.ui.dialogs.compare_dialog import CompareDialog

        volume = self._app.workspace.active
        if volume is not None:
            CompareDialog(self._app, volume.id, self._window).show()

    def show_statistics(self) -> None:
        """Measure the segments of the image that is looked at."""
        from medviewer.ui.dialogs.statistics_dialog import StatisticsDialog

        volume = self._app.workspace.active
        if volume is not None:
            StatisticsDialog(self._app, volume.id, self._window).show()

    def show_library(self) -> None:
        """Show the library, or bring it to the front."""
        from medviewer.ui.dialogs.library import LibraryDialog

        if self._library is None:
            self._library = LibraryDialog(self._app, self, self._window)
            self._library.finished.connect(self._library_closed)
        self._library.show()
        self._library.raise_()
        self._library.activateWindow()

    def close_dialogs(self) -> None:
        """Close what is open beside the window."""
        if self._library is not None:
            self._library.close()
        if self._pacs is not None:
            self._pacs.close()
        if self._models is not None:
            self._models.close()

    def _library_closed(self) -> None:
        self._library = None

    def _pacs_closed(self) -> None:
        self._pacs = None

    def show_pacs(self) -> None:
        """Show the servers, or bring them to the front."""
        from medviewer.ui.dialogs.pacs_dialog import PacsDialog

        if self._pacs is None:
            self._pacs = PacsDialog(self._app, self._window)
            self._pacs.finished.connect(self._pacs_closed)
        self._pacs.show()
        self._pacs.raise_()
        self._pacs.activateWindow()

    def show_priors(self) -> None:
        """Search the server used last for other studies of the patient who is looked at."""
        self.show_pacs()
        if self._pacs is not None:
            self._pacs.find_priors()

    def show_send(self) -> None:
        """Let the user choose what of the image that is looked at to send, and to which server."""
        from medviewer.ui.dialogs.pacs_send import SendDialog, sendables

        volume = self._app.workspace.active
        if volume is not None and volume.series is not None:
            SendDialog(self._app, sendables(self._app, [volume.series]), self.show_pacs, self._window).open()

    def show_settings(self) -> None:
        """Show the settings."""
        from medviewer.ui.dialogs.settings_dialog import SettingsDialog

        SettingsDialog(self._app, self._window).open()

    def show_shortcuts(self) -> None:
        """Show all commands with their keys."""
        from medviewer.app.actions import ACTIONS
        from medviewer.ui.dialogs.shortcuts_dialog import ShortcutsDialog

        ShortcutsDialog(self._app, ACTIONS, self._window).open()

    def reset_views(self) -> None:
        """Fit all views."""
        if self._window.views is not None:
            self._window.views.reset_views()

    def play(self) -> None:
        """Play or pause what is looked at."""
        if self._window.views is not None:
            self._window.views.play_bar.toggle()

    def step_frames(self, by: int) -> None:
        """Go by frames, pictures or time points."""
        if self._window.views is not None:
            self._window.views.play_bar.step(by)

    def reset_layout(self) -> None:
        """Put all panels back to where they were at the first start."""
        self._window.docks.arrange()

    def quit(self) -> None:
        """Close the window; asks when work is unsaved."""
        self._window.close()

    def _notice_read(self) -> None:
        self._app.settings.notice_read = True
        self._app.settings.save()

    def _proposed(self, suffix: str) -> Path:
        """Return where to save: where it was saved last, or beside the images, named after what is looked at."""
        if self._app.documents.path is not None:
            return self._app.documents.path
        volume = self._app.workspace.active
        folder = Path(self._last_folder())
        if not os.access(folder, os.W_OK):
            folder = Path.home()
        return folder / f"{safe_name(volume.name if volume is not None else '')}{suffix}"

    def _last_folder(self) -> str:
        recent = self._app.studies.recent
        return str(recent[0].parent) if recent else str(Path.home())
