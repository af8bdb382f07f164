"""Folders, files and archives -> studies with their series, from headers only.

A scan never fails for one bad file: what is no image is counted, what is broken is named in a warning of its series.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from medviewer.core.dicom_ref import SeriesWarning, Study
from medviewer.core.errors import InputError
from medviewer.io import dicomdir, incomplete
from medviewer.io.archive import extract, is_archive
from medviewer.io.dicom_header import read_header
from medviewer.io.reader import PHOTO, lister_of
from medviewer.io.study_tree import StudyTree
from medviewer.jobs.job import JobContext, SubContext

_REPORT_EVERY: Final = 32
_GROW_SECONDS: Final = 0.25
_ARCHIVES: Final = frozenset({".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz"})
_NEVER_IMAGES: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini", "dicomdir"})


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found.

    Attributes
    ----------
    studies : tuple of Study
    skipped : mapping
        Reason -> number of files left out.
    """

    studies: tuple[Study, ...]
    skipped: Mapping[str, int]

    @property
    def skipped_text(self) -> str:
        """One line about what was left out; empty when nothing was."""
        return "; ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()))


def scan_paths(
    ctx: JobContext, paths: Sequence[Path], on_series: Callable[[Study], None] | None = None
) -> list[Study]:  # fmt: skip
    """Return the studies in folders, files and archives; see `scan`."""
    return list(scan(ctx, paths, on_series).studies)


def scan(ctx: JobContext, paths: Sequence[Path], on_series: Callable[[Study], None] | None = None) -> ScanResult:
    """List what can be opened.

    Parameters
    ----------
    ctx : JobContext
        For progress and cancel.
    paths : sequence of Path
        Folders are searched to the bottom; links that leave them are not followed.
    on_series : callable, optional
        Gets studies while they grow, on the calling thread. A series that is still growing is no volume yet and has the
        warning ``W_SCANNING``.

    Returns
    -------
    ScanResult

    Raises
    ------
    InputError
        When a path does not exist, an archive is unsafe or broken, or the only path is a file that cannot be read.
    """
    running = _Scan(ctx, on_series, frozenset(paths))
    files: list[Path] = []
    for path in paths:
        files += running.files_of(path)
    only_file = len(paths) == 1 and paths[0].is_file() and len(files) == 1
    running.read(files, strict=only_file)
    return running.finish()


class _Scan:
    """One run: collects files, reads headers, reports growth."""

    def __init__(self, ctx: JobContext, on_series: Callable[[Study], None] | None, chosen: frozenset[Path]) -> None:
        self._ctx = ctx
        self._chosen = chosen
        self._on_series = on_series
        self._tree = StudyTree()
        self._listed: list[Study] = []
        self._photos: list[Study] = []
        self._skipped: Counter[str] = Counter()
        self._broken: list[InputError] = []
        self._last_growth = time.monotonic()
        self._unpacked = False
        self._media: dict[Path, dicomdir.MediaDirectory] = {}

    def files_of(self, path: Path) -> list[Path]:
        """Return every file below a path, in order of name; an archive is unpacked first."""
        if not path.exists():
            raise InputError(
                f"{path} does not exist.", hint="Check the name, and that the disk is there.", code="E_NO_FILE"
            )  # fmt: skip
        if dicomdir.is_dicomdir(path) and path.is_file():
            # The directory of a medium stands for the medium.
            path = path.parent
        if path.is_dir():
            return self._files_below(path)
        if not path.is_file():
            # A pipe would never end, and a device never say what it is.
            raise InputError(f"{path.name} is neither a file nor a folder.", code="E_FILE")
        # A packed file of another format, such as .nii.gz, is that format's own.
        if lister_of(path) is None and is_archive(path):
            self._unpacked = True
            archive = extract(SubContext(self._ctx, 0.0, 0.5), path)
            return self._files_below(archive.folder)
        header = path.with_suffix(".hdr")
        # A pair of files is opened by its header, whichever of the two was named.
        return [header] if path.suffix.lower() == ".img" and header.is_file() else [path]

    def _files_below(self, folder: Path) -> list[Path]:
        files, media = dicomdir.in_order_of_media([Path(name) for name in sorted(self._walk(folder))])
        self._media.update(media)
        self._skipped["names in a DICOMDIR that lead elsewhere"] += sum(found.outside for found in media.values())
        return files

    def _walk(self, root: Path) -> Iterator[str]:
        """Yield files below a folder; links that leave it, and folders seen before, are skipped."""
        real_root = os.path.realpath(root)
        seen = {real_root}
        waiting = [str(root)]
        while waiting:
            self._ctx.check_cancelled()
            folder = waiting.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError:
                self._skipped["unreadable folders"] += 1
                continue
            for entry in entries:
                if entry.is_symlink() and not self._stays_inside(entry.path, real_root):
                    self._skipped["links that leave the folder"] += 1
                elif entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if real not in seen:
                        seen.add(real)
                        waiting.append(entry.path)
                elif entry.is_file() and entry.name != incomplete.MARK:
                    yield entry.path

    @staticmethod
    def _stays_inside(path: str, real_root: str) -> bool:
        real = Path(os.path.realpath(path))
        # Not by their common path, which those on two drives do not have.
        return real.is_relative_to(real_root) and real.exists()

    def read(self, files: Sequence[Path], *, strict: bool) -> None:
        """Read headers; `strict` raises for the first file that is no image."""
        ctx = SubContext(self._ctx, 0.5 if self._unpacked else 0.0, 1.0)
        for n, path in enumerate(files):
            if n % _REPORT_EVERY == 0:
                ctx.progress(n / len(files), f"Reading headers: {n} of {len(files)}")
                self._grow()
            try:
                self._read_one(path)
            except (InputError, OSError) as failure:
                error = failure if isinstance(failure, InputError) else _unreadable(path, failure)
                if strict:
                    raise error from failure
                self._skip(path, error)

    def _read_one(self, path: Path) -> None:
        listing = lister_of(path)
        if listing is not None:
            study = listing(path)
            if study.series[0].kind == PHOTO:
                self._photos.append(study)
                return
            self._listed.append(study)
            if self._on_series is not None:
                self._on_series(study)
            return
        if path.name.lower() in _NEVER_IMAGES:
            raise InputError(f"{path.name} is no image.", code="E_NOT_DICOM")
        header = read_header(path)
        if not self._tree.add(header):
            raise InputError(f"{path.name} is a DICOM file without an image or a report.", code="E_NO_IMAGE")

    def _skip(self, path: Path, error: InputError) -> None:
        if error.code == "E_NOT_DICOM":
            kind = "archives inside folders" if path.suffix.lower() in _ARCHIVES else "other files"
            self._skipped[kind] += 1
            return
        self._skipped["DICOM files without an image" if error.code == "E_NO_IMAGE" else "broken files"] += 1
        if error.code != "E_NO_IMAGE":
            self._broken.append(error)

    def _grow(self) -> None:
        """Show what has been found so far, a few times a second."""
        now = time.monotonic()
        if self._on_series is None or now - self._last_growth < _GROW_SECONDS:
            return
        self._last_growth = now
        for study in self._tree.previews():
            self._on_series(study)

    def _shown_photos(self) -> list[Study]:
        """Return the photographs; beside DICOM files only those that were chosen."""
        # Discs carry the pictures of their viewer.
        shown = self._photos
        if self._tree.has_studies:
            shown = [study for study in self._photos if study.series[0].files[0] in self._chosen]
        if len(shown) < len(self._photos):
            self._skipped["pictures beside DICOM files"] += len(self._photos) - len(shown)
        # Those of one folder are one study.
        folders: dict[str, Study] = {}
        for study in shown:
            first = folders.get(study.study_instance_uid)
            folders[study.study_instance_uid] = (
                study if first is None else replace(first, series=(*first.series, *study.series))
            )
        return list(folders.values())

    def finish(self) -> ScanResult:
        """Split the series and return the studies."""
        self._ctx.progress(1.0, "Sorting slices")
        studies = incomplete.marked(
            [*self._tree.studies(self._ctx.check_cancelled), *self._listed, *self._shown_photos()]
        )
        if self._broken and studies:
            more = f" and {len(self._broken) - 1} more files" if len(self._broken) > 1 else ""
            warning = SeriesWarning("W_UNREADABLE", f"Left out: {self._broken[0].text}{more}")
            studies = [replace(study, warnings=(*study.warnings, warning)) for study in studies]
        studies = [self._compared_with_media(study) for study in studies]
        if self._on_series is not None:
            for study in studies:
                self._on_series(study)
        result = ScanResult(tuple(studies), dict(+self._skipped))
        self._ctx.progress(1.0, result.skipped_text and f"Left out: {result.skipped_text}")
        return result

    def _compared_with_media(self, study: Study) -> Study:
        """Say of a study which came from a medium that its DICOMDIR names files that are not there."""
        files = [series.files[0] for series in study.series if series.files]
        missing = sum(
            found.missing
            for path, found in self._media.items()
            if any(file.is_relative_to(path.parent) for file in files)
        )
        if not missing:
            return study
        text = f"The DICOMDIR names {missing} files that are not there: series may be incomplete."
        return replace(study, warnings=(*study.warnings, SeriesWarning("W_DICOMDIR", text)))


def _unreadable(path: Path, error: OSError) -> InputError:
    """Return the refusal of a file that the system does not give, such as one of a pair, or one just removed."""
    return InputError(f"{path.name} cannot be read: {error.strerror or type(error).__name__}.", code="E_FILE")
