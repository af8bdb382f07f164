"""Files in: scan what is there, then open one series as a volume.

Public functions (import them from the modules named; this package imports nothing by itself, so start-up stays fast).

``medviewer.io.dicom_scan``
    ``scan_paths(ctx: JobContext, paths: Sequence[Path],
    on_series: Callable[[Study], None] | None = None) -> list[Study]``
        Folder (recursive), file or archive. Headers only. `on_series` gets growing studies on the calling thread while
        the scan runs; a series that is still growing has ``volume=False`` and the warning ``W_SCANNING``.
        Raises `InputError` for a path that does not exist, an unsafe archive, or a single file that is no image;
        a folder or archive without images gives an empty list.
    ``scan(ctx, paths, on_series=None) -> ScanResult``
        The same with what was left out: ``ScanResult(studies: tuple[Study, ...], skipped: Mapping[str, int])``,
        `skipped` being reason -> number of files.

``medviewer.io.reader``
    ``open_series(ctx: JobContext, series: SeriesRef, decode: WorkerProcess | None = None,
    on_first: Callable[[Volume], None] | None = None, on_filled: Callable[[Region], None] | None = None) -> Volume``
        `on_first` is called on the calling thread once the middle slice is there, with the Volume whose array is still
        being filled (slices not yet read are 0); the array is never moved or copied afterwards and the same Volume
        object is returned at the end. (In the rare case that values turn out not to fit int16, `on_first` is called
        again with a new Volume, and that one is returned.) `on_filled` gets the `Region` (k, j, i) that has just been
        filled. Without `decode`, a worker is started for the call when one is needed and closed after it.
        Raises `InputError` (`DecodeError`, `GeometryError`); ``series.volume`` False is refused with its reason.
    ``open_one(ctx, request: OpenRequest) -> Volume``, ``reader(...)``, ``readers()``, ``SKIP``: the chain.

``medviewer.io.decode_worker``
    ``new_decode_worker() -> WorkerProcess``
        The process that decodes compressed pixels and foreign containers; keep one per program, ``close()`` at exit.

``medviewer.io.archive``
    ``extract(ctx, path: Path) -> ExtractedArchive`` and ``close_all()``
        Safe extraction (zip, tar, one packed file) to a private folder that lives until ``close_all()`` or the end of
        the process.
    ``source_of(path: Path) -> Path | None``: the archive that an unpacked file came from.

``medviewer.io.dicom_header``
    ``read_header(path: Path) -> Header``: the tags needed, without pixel data. ``Header.text/numbers/integer(tag)``
    with the tags of ``medviewer.io.dicom_tags.Tag``.

``medviewer.io.dicom_geometry``
    ``stack_geometry(headers: Sequence[Header]) -> Geometry``: exact to 0.1 mm per slice, or `GeometryError`.

``medviewer.io.load_segments`` and ``medviewer.io.load_object``
    What the decode worker does for what belongs to images (``READ``, ``REFERENCE``, ``READ_OBJECT``): segments onto the
    grid of a `Target`, and reports, key images, presentation states, registrations and documents as plain values.

``medviewer.imaging.sitk_image``
    ``to_sitk(image: Volume | VoxelArray, geometry: Geometry | None = None) -> sitk.Image``
    ``from_sitk(image: sitk.Image) -> tuple[VoxelArray, Geometry]``

``medviewer.imaging.resample``
    ``resample_onto(array, source: Geometry, target: Geometry, transform: AffineTransform | None = None,
    interpolation: Literal["linear", "nearest"] = "linear", default: float = 0.0) -> VoxelArray``
        `transform` maps target (fixed) LPS to source (moving) LPS. Equal grids without a transform: the same array.

Warning codes: W_SPLIT W_LOCALIZER W_MISSING_SLICE W_UNEVEN_SPACING W_TILT W_NO_SPACING W_NO_POSITION W_DUPLICATE
W_UID_COLLISION W_AMBIGUOUS W_SINGLE_SLICE W_NO_PIXELS W_CODEC W_UNREADABLE W_EXTRA_PIXELS W_WINDOW W_OVERLAY
W_COLOUR_DEPTH W_ALPHA W_PAGES W_TILES W_DETECTOR_SPACING W_SCANNED_REGION
W_CHARSET W_NOT_IMAGE W_MOSAIC W_NO_META W_GUESSED_SYNTAX W_PIXELREP W_4D
W_NO_UID W_ENTERED_SPACING W_AFFINE_MISMATCH W_NO_ORIENTATION W_SHEAR W_NOT_FINITE W_DICOMDIR W_PREAMBLE
W_SCANNING W_NO_SUV W_SUV_TIME W_SLOPE_ZERO W_DOSE_UNIT W_NO_MAPPING W_INCOMPLETE W_MULTIFRAME W_NOT_IN_PATIENT W_PART
W_PIXEL_FORMAT W_RESAMPLED.

Rules that others may rely on: ``series.files[k]`` holds slice ``k`` of the volume for ``kind == "dicom"``, as its frame
``series.frames[k]`` where the files are multi-frame (`medviewer.io.dicom_frames.slice_headers` gives the headers); of a
series with a time axis, ``series.at_time(n)`` has those of one point;
``series.refusal`` is the code with which what cannot be opened is refused; a series whose
slices are not evenly spaced is split into its evenly spaced runs (``uid#1``, ``uid#2``, …), each exact, or, when that
would give more than six, listed whole with ``volume=False``; besides, all its slices are offered on one computed grid
(``series.interpolation``, `medviewer.io.dicom_resample.planes_of`).
"""
