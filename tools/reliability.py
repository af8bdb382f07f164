"""Measure the bar that reading must reach, and print it: id, figure, pass.

Run by ``make reliability``. Everything is made here or lies in the folder of real images beside the project; nothing is
fetched. A figure below its bar makes the program end with status 1.
"""

from __future__ import annotations

import argparse
import gzip
import io
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psutil

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from medviewer.core.dicom_ref import SeriesRef  # noqa: E402
from medviewer.core.errors import MedViewerError  # noqa: E402
from medviewer.core.geometry import Geometry  # noqa: E402
from medviewer.io.decode_worker import DecodeSource, new_decode_worker  # noqa: E402
from medviewer.io.dicom_frames import slice_headers  # noqa: E402
from medviewer.io.dicom_geometry import corner_error_mm, slice_frame, slice_position  # noqa: E402
from medviewer.io.dicom_header import Header, read_header  # noqa: E402
from medviewer.io.native_pixels import Stack  # noqa: E402
from medviewer.io.pixel_format import pixel_format  # noqa: E402
from medviewer.jobs.job import NullContext  # noqa: E402
from medviewer.jobs.worker import WorkerProcess  # noqa: E402
from tests import dicom_makers, dicom_mutators  # noqa: E402
from tests.outcomes import Outcome, outcomes  # noqa: E402

CTX: Final = NullContext()
_MB: Final = 2**20
_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 203))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bar: `right` is the same on every machine, `fast` depends on what else this one does."""

    id: str
    what: str
    figure: str
    right: bool
    fast: bool = True

    @property
    def passed(self) -> bool:
        """Whether the bar is reached."""
        return self.right and self.fast


@dataclass(slots=True)
class Bench:
    """What the measurements share.

    Attributes
    ----------
    folder : Path
        Empty; gone afterwards.
    worker : WorkerProcess
        Decodes.
    corpora : tuple of Path
        Real files, unpacked, one each.
    mutants : int
        Of each good file.
    """

    folder: Path
    worker: WorkerProcess
    corpora: tuple[Path, ...]
    mutants: int
    opened: dict[Path, list[Outcome]] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)

    def ask(self, path: Path) -> list[Outcome]:
        """Return what becomes of a file; what is no answer is kept as a crash."""
        try:
            return outcomes(path, self.worker)
        # The very thing that is looked for: an error that no user could read.
        except Exception as error:  # noqa: BLE001
            self.crashes.append(f"{path.name}: {type(error).__name__} {error}"[:120])
            return []


def good_files(bench: Bench) -> list[Path]:
    """Write one good file of every encoding."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

    folder = bench.folder / "good"
    plain = dicom_makers.write_slice(folder / "explicit.dcm", dicom_makers.pixels())
    files = [plain]
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("big", ExplicitVRBigEndian)):
        files.append(dicom_makers.write_slice(folder / f"{name}.dcm", dicom_makers.pixels(), syntax=syntax))
    files.append(dicom_mutators.planted(folder, "deflated.dcm", dicom_mutators.deflated(plain.read_bytes())))
    for name, syntax in (("rle", RLELossless), ("jpegls", JPEGLSLossless), ("jpeg2000", JPEG2000Lossless)):
        dataset = dcmread(plain)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(folder / f"{name}.dcm")
        files.append(folder / f"{name}.dcm")
    frames = np.stack([dicom_makers.pixels(n, np.uint16) for n in range(3)])
    files.append(dicom_makers.write_enhanced(folder / "frames.dcm", frames, [(0, 0, float(n)) for n in range(3)]))
    return files


def every_file_has_an_outcome(bench: Bench) -> Line:
    """R-01: corpora and mutants, each LOADED, LOADED with a warning, or REFUSED with text and hint."""
    seconds: list[float] = []
    states: Counter[str] = Counter()
    silent = 0
    slowest = (0.0, "")
    started_rss = psutil.Process().memory_info().rss
    for path in _with_mutants(bench):
        started = time.perf_counter()
        found = bench.ask(path)
        seconds.append(time.perf_counter() - started)
        slowest = max(slowest, (seconds[-1], path.name))
        states.update(outcome.state for outcome in found)
        silent += sum(o.state == "REFUSED" and not (o.text and o.hint) for o in found)
        if path in bench.corpora:
            bench.opened[path] = [_light(outcome) for outcome in found]
    growth = (psutil.Process().memory_info().rss - started_rss) / _MB
    p99, worst = float(np.percentile(seconds, 99)), max(seconds)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    figure = (
        f"{len(seconds)} files: {counts}; {len(bench.crashes)} crashes, {silent} silent; "
        f"p99 {p99:.2f} s, max {worst:.2f} s ({slowest[1]}); RSS +{growth:.0f} MB"
    )
    right, fast = not bench.crashes and not silent, p99 <= 1 and worst <= 5 and growth <= 150
    return Line("R-01", "every file has an outcome", figure, right, fast)


def _light(outcome: Outcome) -> Outcome:
    """Return an outcome without its voxels."""
    return Outcome(
        outcome.state, outcome.codes, outcome.text, outcome.hint, outcome.digest, outcome.seconds, outcome.series
    )  # fmt: skip


def _with_mutants(bench: Bench) -> Iterator[Path]:
    yield from bench.corpora
    target = bench.folder / "mutant.dcm"
    for seed, path in enumerate(good_files(bench)):
        for spoiled in dicom_mutators.mutants(path.read_bytes(), bench.mutants, seed):
            target.write_bytes(spoiled)
            yield target


def what_is_shown(bench: Bench) -> Line:
    """R-02: of the files with pixels, how many become a volume; and the reasons of the others."""
    found = [outcome for several in bench.opened.values() for outcome in several]
    images = [o for o in found if not o.codes & {"E_NOT_IMAGE", "E_NO_PIXELS", "E_NOT_DICOM", "E_NO_IMAGE"}]
    shown = sum(o.state != "REFUSED" for o in images)
    reasons = Counter(next(iter(o.codes)) for o in images if o.state == "REFUSED")
    share = shown / max(1, len(images))
    figure = f"{shown}/{len(images)} with pixels opened ({share:.1%}); not: {dict(reasons.most_common(6))}"
    return Line("R-02", "files with pixels are shown", figure, bool(images) and share >= 0.99)


def _stored(header: Header, worker: WorkerProcess) -> npt.NDArray[Any]:
    """Return the real values of one picture, with a place in the patient or without."""
    stack = Stack([pixel_format(header)], np.float32)
    if header.is_native and header.pixel_offset is not None:
        stack.read(0, header.path, header.pixel_offset)
    else:
        DecodeSource(worker, [header]).fill(CTX, stack, range(1))
    values: npt.NDArray[Any] = stack.array[0]
    return values


def lossless_equals_reference(bench: Bench) -> Line:
    """R-03: pictures that lie there uncompressed, or in several lossless codecs, are equal."""
    references: dict[str, npt.NDArray[Any]] = {}
    equal = compared = skipped = 0
    wanted = [p for p in bench.corpora if "codecs_wg04" in str(p) or "odd_and_codecs" in str(p)]
    # Uncompressed first, so that it is what the others are compared with.
    for path in sorted(wanted, key=lambda p: (_compressed(p), str(p))):
        stem, _, codec = path.stem.rpartition("_")
        family = stem if codec in _CODECS else None
        if family is None:
            continue
        try:
            header = read_header(path)
            if header.transfer_syntax_uid in _LOSSY or codec.endswith("I"):
                continue
            values = _stored(header, bench.worker)
        except MedViewerError:
            skipped += 1
            continue
        key = f"{path.parts[len(bench.folder.parts)]}/{family}"
        if key in references:
            compared += 1
            equal += bool(np.array_equal(values, references[key]))
        else:
            references[key] = values
    figure = f"{equal}/{compared} equal to their reference; {skipped} colour or unreadable left out"
    return Line("R-03", "lossless codecs are exact", figure, compared > 0 and equal == compared)


_CODECS: Final = frozenset({
    "J2KR", "J2KI", "RLE", "JPLL", "JLSL", "UNCR", "UNCI", "bigendian", "jp2klossless", "small", "lossless",
})  # fmt: skip


def _compressed(path: Path) -> bool:
    return not path.stem.endswith(("UNCR", "small"))


def no_voxels_from_short_buffers(bench: Bench) -> Line:
    """R-05: an element that is too short is refused, and any file gives the same voxels twice."""
    refused = total = 0
    target = bench.folder / "short.dcm"
    for path in good_files(bench):
        data = path.read_bytes()
        if path.stem not in ("explicit", "frames"):
            continue
        at = dicom_mutators.place_of(data, 0x7FE00010)
        whole = len(data) - at - 12
        for size in (0, 2, 16, 64, whole // 3, whole // 2, whole - 2):
            target.write_bytes(data[:at] + dicom_mutators.element(0x7FE00010, b"OW", b"\1" * size))
            found = bench.ask(target)
            total += 1
            refused += all(o.state == "REFUSED" for o in found) and bool(found)
    same = opened = 0
    for path, before in bench.opened.items():
        if any(outcome.digest for outcome in before):
            opened += 1
            same += [o.digest for o in bench.ask(path)] == [o.digest for o in before]
    figure = f"{refused}/{total} short buffers refused; {same}/{opened} real files the same twice"
    return Line("R-05", "no voxels that are not in the file", figure, refused == total and same == opened)


def geometry_is_exact(bench: Bench) -> Line:
    """R-06: no slice corner of any opened series lies off its position and orientation."""
    from medviewer.io.dicom_scan import scan

    worst, series_count, warned = 0.0, 0, Counter[str]()
    folders = {bench.folder / p.relative_to(bench.folder).parts[0] for p in bench.corpora}
    for folder in sorted(folders):
        for study in scan(CTX, [folder]).studies:
            for series in study.series:
                warned.update({w.code for w in series.warnings} & _PLACE_CODES)
                if series.volume and series.kind == "dicom":
                    worst = max(worst, _place_error(series))
                    series_count += 1
    figure = f"{series_count} series, worst corner {worst:.4f} mm off; warned {dict(warned)}"
    return Line("R-06", "geometry is exact", figure, series_count > 0 and worst <= 0.1)


_PLACE_CODES: Final = frozenset({"W_TILT", "W_UNEVEN_SPACING", "W_MISSING_SLICE", "W_LOCALIZER", "W_NO_POSITION"})


def _place_error(series: SeriesRef) -> float:
    from medviewer.io.dicom_geometry import stack_geometry

    headers = slice_headers(series)
    geometry: Geometry = stack_geometry(headers)
    positions = np.array([slice_position(header) for header in headers])
    return corner_error_mm(geometry, [slice_frame(header) for header in headers], positions)


def intensity_is_that_of_pydicom(bench: Bench) -> Line:
    """R-08: every value equals pydicom's Modality LUT or rescale; MONOCHROME1 is not inverted."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.uid import UID

    equal = compared = 0
    for path, found in bench.opened.items():
        whole = [o.series for o in found if o.state != "REFUSED" and o.series is not None and not o.series.frames]
        if not any(series.kind == "dicom" and series.files == (path,) for series in whole):
            continue
        header = read_header(path)
        if header.transfer_syntax_uid in _LOSSY:
            continue
        dataset = dcmread(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax_uid)
        wanted = apply_modality_lut(dataset.pixel_array, dataset)
        compared += 1
        equal += bool(np.allclose(_stored(header, bench.worker), wanted, rtol=1e-6, atol=1e-6))
    figure = f"{equal}/{compared} single-frame files equal pydicom"
    return Line("R-08", "intensities are right", figure, compared > 0 and equal == compared)


def bombs_are_refused(bench: Bench) -> Line:
    """R-21: small files that promise or unpack to too much are refused fast and cheaply."""
    bombs = dict(_bombs(bench))
    before = psutil.Process().memory_info().rss
    refused, slowest, loaded = 0, 0.0, []
    for name, path in bombs.items():
        started = time.perf_counter()
        found = bench.ask(path)
        slowest = max(slowest, time.perf_counter() - started)
        if all(outcome.state == "REFUSED" for outcome in found):
            refused += 1
        else:
            loaded.append(name)
    growth = (psutil.Process().memory_info().rss - before) / _MB
    figure = f"{refused}/{len(bombs)} refused, slowest {slowest:.2f} s, RSS +{growth:.0f} MB {loaded or ''}".strip()
    return Line("R-21", "bombs are refused", figure, refused == len(bombs), slowest <= 2 and growth <= 300)


def _bombs(bench: Bench) -> Iterator[tuple[str, Path]]:
    """Write every bomb: (name, path)."""
    folder = bench.folder / "bombs"
    plain = dicom_makers.write_slice(folder / "plain.dcm", dicom_makers.pixels()).read_bytes()
    zeros = b"\0" * (256 * _MB)
    huge = struct.pack("<I", len(zeros))
    at = dicom_mutators.place_of(plain, 0x7FE00010)

    def plant(name: str, data: bytes) -> tuple[str, Path]:
        return name, dicom_mutators.planted(folder, name, data)

    head = dicom_mutators.element(0x00091010, b"OB", b"")[:-4] + huge
    group = dicom_mutators.place_of(plain, 0x00100010)
    tail = dicom_mutators.element(0xFFFCFFFC, b"OB", b"")[:-4] + huge
    yield plant("deflate pixels.dcm", dicom_mutators.deflated(plain[:at] + plain[at : at + 8] + huge, zeros))
    yield plant("deflate header.dcm", dicom_mutators.deflated(plain[:group] + head, zeros))
    yield plant("deflate tail.dcm", dicom_mutators.deflated(plain + tail, zeros))
    for rows, columns in ((65535, 65535), (65535, 40), (40, 65535)):
        data = dicom_mutators.with_us(dicom_mutators.with_us(plain, 0x00280010, rows), 0x00280011, columns)
        yield plant(f"{rows} x {columns}.dcm", data)
    for frames in ("999999", "2147483647"):
        element = dicom_mutators.element(0x00280008, b"IS", frames.encode().ljust(10))
        yield plant(f"{frames} frames.dcm", dicom_mutators.with_element(plain, 0x00280010, element))
    rle = (bench.folder / "good" / "rle.dcm").read_bytes()
    wide = dicom_mutators.with_us(dicom_mutators.with_us(rle, 0x00280010, 65535), 0x00280011, 65535)
    yield plant("rle 65535 x 65535.dcm", wide)
    for length in (0xFFFFFFF0, 0x7FFFFFFF):
        element = dicom_mutators.element(0x00091010, b"UN", b"")[:-4] + struct.pack("<I", length)
        yield plant(f"element of {length}.dcm", dicom_mutators.with_element(plain, 0x00100010, element))
    yield plant("zeros.zip", _zip_of(zeros))
    yield plant("gz.nii.gz", gzip.compress(_nifti((30000, 30000, 200)) + zeros, 9))
    for size in ((30000, 30000, 200), (32767, 32767, 32767), (-5, 10, 10), (0, 10, 10)):
        yield plant(f"nifti {size[0]}.nii", _nifti(size))


def _zip_of(zeros: bytes) -> bytes:
    """Return an archive that unpacks to 1 GB."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for n in range(4):
            archive.writestr(f"{n}.dcm", zeros)
    return target.getvalue()


def _nifti(size: tuple[int, int, int]) -> bytes:
    """Return the header of a NIfTI-1 image of 16-bit voxels that are not there."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, *([1.0] * 8))
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return bytes(header)


MEASUREMENTS: Final[tuple[Callable[[Bench], Line], ...]] = (
    every_file_has_an_outcome, what_is_shown, lossless_equals_reference, no_voxels_from_short_buffers,
    geometry_is_exact, intensity_is_that_of_pydicom, bombs_are_refused,
)  # fmt: skip


def measure(data: Path, folder: Path, *, mutants: int, archives: str = "*.zip", every: int = 1) -> Iterator[Line]:
    """Measure the bar line by line.

    Parameters
    ----------
    data : Path
        Folder of zipped real studies; may be absent.
    folder : Path
        Empty, to work in.
    mutants : int
        Of each good file.
    archives : str
        Which of the zips, as a pattern.
    every : int
        Take every n-th real file.
    """
    corpora: list[Path] = []
    for archive in sorted(data.glob(archives)):
        target = folder / archive.stem
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.is_dir() and not Path(m.filename).is_absolute()]
            corpora += [Path(opened.extract(member, target)) for member in members[::every]]
    worker = new_decode_worker()
    worker.start()
    try:
        bench = Bench(folder, worker, tuple(corpora), mutants)
        for measurement in MEASUREMENTS:
            yield measurement(bench)
    finally:
        worker.close()


def main() -> int:
    """Print the table; 1 when a line fails."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "dicom")
    options.add_argument("--mutants", type=int, default=500, help="of each of eight good files")
    chosen = options.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="medviewer-reliability-") as folder:
        for line in measure(chosen.data, Path(folder), mutants=chosen.mutants):
            failed += not line.passed
            print(f"{line.id}  {'pass' if line.passed else 'FAIL'}  {line.what}: {line.figure}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
