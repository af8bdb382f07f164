"""Archives, detached headers, and a good series among everything else."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from medviewer.core.errors import InputError
from medviewer.io.archive import extract
from medviewer.io.dicom_scan import scan
from tests import archive_makers, dicom_makers, dicom_mutators
from tests.outcomes import outcomes
from tools.bar.bar import CTX, Bench, Figure, row
from tools.bar.files import good_files

_DETACHED = ("/etc/passwd", "../x.raw", "LIST", "x%03d.raw 1 5 1", "http://localhost/x.raw", "C:\\x.raw")


@row("R-04", "a good series among anything is opened")
def poisoned_folder(bench: Bench) -> Figure:
    """Ten good slices in one folder with spoiled files, junk and archives: opened as if they were alone, in 60 s."""
    folder = bench.folder / "poisoned"
    for n in range(10):
        dicom_makers.write_slice(
            folder / f"good{n}.dcm", dicom_makers.pixels(n), (0, 0, 2.0 * n), SeriesInstanceUID="1.2.3.77",
            StudyInstanceUID="1.2.3.7", InstanceNumber=n + 1,
        )  # fmt: skip
    alone = outcomes(folder, bench.worker)
    count = 40 if bench.sample else 600
    for seed, path in enumerate(good_files(bench)):
        for n, spoiled in enumerate(dicom_mutators.mutants(path.read_bytes(), count // 8, seed)):
            dicom_mutators.planted(folder, f"spoiled/{path.stem}{n}.dcm", spoiled)
    for name, (data, _) in archive_makers.HOSTILE_TARS.items():
        dicom_mutators.planted(folder, f"archives/{name}.tar", data)
    for n, suffix in enumerate((".nii", ".nii.gz", ".nrrd", ".mha", ".mgz", ".hdr", ".dcm", ".png", ".pdf", "")):
        dicom_mutators.planted(folder, f"junk/{n}{suffix}", bytes([n]) * (n * 500))
    started = time.perf_counter()
    found = outcomes(folder, bench.worker)
    seconds = time.perf_counter() - started
    good = [o for o in found if o.series is not None and o.series.series_instance_uid == "1.2.3.77"]
    same = [o.digest for o in good] == [o.digest for o in alone] and len(alone) == 1
    figure = f"{len(found)} series listed beside {count} spoiled files; the good one the same: {same}; {seconds:.1f} s"
    return Figure(figure, same, seconds <= 60)


@row("R-26", "hostile archives and detached headers are refused")
def hostile_containers(bench: Bench) -> Figure:
    """Nothing leaves the folder, nothing stays behind, no header shows another file. Models: none in this program."""
    folder = bench.folder / "containers"
    canary = dicom_mutators.planted(folder, "x.raw", bytes(1000))
    refused = 0
    for name, (data, codes) in archive_makers.HOSTILE_TARS.items():
        for suffix in (".tar", ".tar.gz"):
            path = dicom_mutators.planted(folder, f"in/{name}{suffix}", archive_makers.PACKERS[suffix](data))
            refused += _refusal(path) in codes.split("|")
    archives = 2 * len(archive_makers.HOSTILE_TARS)
    left = {path for path in folder.rglob("*") if path.is_file()} - {canary} - set((folder / "in").iterdir())
    headers = 0
    for n, place in enumerate(_DETACHED):
        mhd = f"NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = {place}\n"
        nhdr = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: {place}\n\n"
        for suffix, header in ((".mhd", mhd), (".nhdr", nhdr)):
            path = dicom_mutators.planted(folder, f"headers/{n}{suffix}", header.encode())
            headers += {code for o in bench.ask(path) for code in o.codes} == {"E_EXTERNAL_DATA"}
    shutil.rmtree(folder)
    figure = f"{refused}/{archives} archives, {headers}/{2 * len(_DETACHED)} detached headers refused; left {len(left)}"
    return Figure(figure, refused == archives and headers == 2 * len(_DETACHED) and not left)


def _refusal(path: Path) -> str:
    """Return the code with which an archive is refused, by itself and when it is opened."""
    try:
        extract(CTX, path)
        return ""
    except InputError as error:
        code = error.code
    try:
        scan(CTX, [path])
    except InputError as error:
        return code if error.code == code else ""
    return ""
