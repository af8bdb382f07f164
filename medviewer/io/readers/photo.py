"""Photographs and scans: PNG, JPEG, TIFF, BMP and GIF; pages of one size one behind the other.

Listed by what Pillow reads of a header in Python; decoded in the decode worker. Where such a picture lies, and how
large a pixel is, no file says: resolutions in them are those of a printer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesWarning, Stacking, Study
from medviewer.core.errors import DecodeError, InputError, OutOfMemory
from medviewer.core.geometry import Geometry
from medviewer.core.volume import ColorArray, Volume, VoxelArray
from medviewer.io.colors import FULL_WINDOW, luminance
from medviewer.io.decode_worker import call_for_file, decode_worker
from medviewer.io.dicom_pictures import flat_grid
from medviewer.io.image_file import image_study, named_like_labels
from medviewer.io.inflate import MOST_BYTES, MOST_RATIO
from medviewer.io.native_pixels import empty_voxels
from medviewer.io.raw_voxels import volume_values
from medviewer.io.reader import PHOTO, SKIP, OpenRequest, Skip, reader
from medviewer.io.study_tree import made_up_uid
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from PIL.Image import Image

READ_PIXELS: Final = "medviewer.io.readers.photo:read_pixels"
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
_FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
_MOST_PAGES: Final = 10_000
_LARGEST_SIDE: Final = 65_535
_SECONDS: Final = 120.0
_ANIMATIONS: Final = ("GIF", "PNG")
_LOSSY: Final = ("JPEG", "MPO")
_ORIENTATION: Final = 0x0112
#: Modes whose numbers are values, not colours.
_GREY_MODES: Final = frozenset({"1", "L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_COLOR_MODES: Final = frozenset({"RGB", "RGBA", "RGBX", "P", "PA", "LA", "La", "RGBa", "CMYK", "YCbCr"})
_DEEP: Final = ";16"


@dataclass(frozen=True, slots=True)
class PhotoHeader:
    """What a file says about its pictures.

    Attributes
    ----------
    geometry : Geometry
        (i, j, k) in pixels; k counts the pages.
    pages : tuple of int
        The pages of the file that are opened: those of the size of the first.
    stacking : "time" or "number"
        An animation counts the time, pages only their number.
    warnings : tuple of SeriesWarning
    """

    geometry: Geometry
    pages: tuple[int, ...]
    stacking: Stacking
    warnings: tuple[SeriesWarning, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PhotoPixels:
    """What the worker returns.

    Attributes
    ----------
    array : shape (k, j, i)
        Values, or the luminance of colours.
    colors : shape (k, j, i, 3) or None
    times_ms : tuple of float
        When each picture of an animation is shown.
    warnings : tuple of SeriesWarning
    """

    array: VoxelArray
    colors: ColorArray | None
    times_ms: tuple[float, ...]
    warnings: tuple[SeriesWarning, ...]


def list_photo(path: Path) -> Study:
    """Return a picture file as a series of the study that its folder is.

    Raises
    ------
    InputError
        ``E_PHOTO``, ``E_DIMENSIONS`` or ``E_BOMB``.
    """
    header = read_header(path)
    study = image_study(
        path, PHOTO, path.stem, header.geometry, labels=named_like_labels(path), warnings=header.warnings
    )  # fmt: skip
    # Its grid counts pixels: there is no spacing to be told.
    folder = path.resolve().parent
    uid = made_up_uid(f"{PHOTO} study", str(folder))
    series = replace(study.series[0], study_instance_uid=uid, stacking=header.stacking, spacing=None)
    return replace(study, study_instance_uid=uid, description=folder.name, series=(series,))


@reader("photo", kinds=[PHOTO], suffixes=SUFFIXES, listing=list_photo)
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read a picture in the decode worker."""
    if len(request.series.files) != 1:
        return SKIP
    path = request.series.files[0]
    header = read_header(path)
    with decode_worker(request.decode) as worker:
        pixels = call_for_file(worker, READ_PIXELS, path, ctx, path, seconds=_SECONDS)
    assert isinstance(pixels, PhotoPixels)
    volume = Volume(
        array=pixels.array,
        geometry=header.geometry,
        name=request.series.title,
        modality=request.series.modality,
        series=request.series,
        window=FULL_WINDOW if pixels.colors is not None else None,
        warnings=(*request.series.warnings, *pixels.warnings),
        decoder="pillow",
        colors=pixels.colors,
        stacking=header.stacking,
        in_patient=False,
        in_mm=False,
        frame_times_ms=pixels.times_ms,
    )
    request.on_first(volume)
    request.on_filled(header.geometry.region)
    return volume


def read_header(path: Path) -> PhotoHeader:
    """Return what a file says about its pictures, without decoding any of them.

    Raises
    ------
    InputError
        ``E_PHOTO`` when it is no picture, ``E_DIMENSIONS`` or ``E_BOMB`` when it promises more than it can hold.
    """
    with _opened(path) as image:
        size = _upright_size(image)
        count = int(getattr(image, "n_frames", 1))
        if max(size) > _LARGEST_SIDE or not 1 <= count <= _MOST_PAGES:
            raise DecodeError(f"{path.name} declares {count} pictures of {size[0]} x {size[1]}.", code="E_DIMENSIONS")
        # Pictures of an animation are all of one size, and going to one of them would decode those before it.
        moving = image.format in _ANIMATIONS
        pages = tuple(range(count)) if moving or count == 1 else tuple(_pages_of(image, count, size))
    nbytes = math.prod(size) * len(pages) * 4
    if nbytes > max(MOST_BYTES, MOST_RATIO * path.stat().st_size):
        raise DecodeError(f"{path.name} promises {nbytes} bytes of pixels in a small file.", code="E_BOMB")
    notes = []
    if len(pages) < count:
        text = f"{count - len(pages)} of {count} pages differ in size from the first and were left out."
        notes.append(SeriesWarning("W_PAGES", text))
    grid = flat_grid((*size, len(pages)), (1.0, 1.0))
    return PhotoHeader(grid, pages, "time" if moving and count > 1 else "number", tuple(notes))


def _pages_of(image: Image, count: int, size: tuple[int, int]) -> Iterator[int]:
    """Yield the pages of one size."""
    for page in range(count):
        image.seek(page)
        if _upright_size(image) == size:
            yield page


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open a file by its content, whatever it is called; every way in which it is broken means the same."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # The caps of this module are stricter where it counts: against the size of the file.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise DecodeError(f"{path.name} promises more pixels than any photograph has.", code="E_BOMB") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path.name} is not a picture that can be read.", code="E_PHOTO") from error
    except MemoryError as error:
        raise OutOfMemory(f"Not enough memory for {path.name}.") from error
    # A broken picture breaks Pillow in many ways; what the system refuses has its own words.
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{path.name} cannot be read: {error.strerror}.", code="E_FILE") from error
        raise DecodeError(f"{path.name} is broken ({type(error).__name__}: {error}).", code="E_PHOTO") from error


def _upright_size(image: Image) -> tuple[int, int]:
    """Return width and height as they are once the camera's orientation is applied."""
    width, height = image.size
    if image.format == "TIFF":
        # Pillow turns them by itself.
        return width, height
    return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 to 8, as the header before the pixels says it."""
    from PIL import Image as pillow

    if image.format != "PNG":
        return int(image.getexif().get(_ORIENTATION, 1))
    # Asked for the whole of its EXIF, Pillow decodes a PNG.
    exif = pillow.Exif()
    exif.load(image.info.get("exif", b""))
    return int(exif.get(_ORIENTATION, 1))


def _upright(image: Image) -> Image:
    """Return a page as the camera was held."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    turn = turns.get(_orientation(image))
    image.load()
    return image.transpose(turn) if turn is not None and image.format != "TIFF" else image


def read_pixels(ctx: JobContext, path: object) -> PhotoPixels:
    """Decode a picture as values, where it is grey, or as colours; runs in the decode worker.

    A picture with colour channels that are all the same is grey.

    Raises
    ------
    DecodeError
    """
    assert isinstance(path, Path)
    pictures, times, notes = _decoded(ctx, path, labels=False)
    if pictures.ndim == 4 and (pictures[..., :1] == pictures).all():
        pictures = pictures[..., 0]
    if pictures.ndim == 3:
        return PhotoPixels(volume_values(pictures), None, times, notes)
    return PhotoPixels(luminance(pictures), pictures, times, notes)


def read_label_pixels(ctx: JobContext, path: Path) -> tuple[npt.NDArray[Any], list[tuple[int, int, int]]]:
    """Return the numbers of a label map exactly as they are stored, and the colours of its palette, if it has one.

    The shape is (k, j, i), or (k, j, i, 3) for colours. Of a picture with a palette the numbers are its indices. A JPEG
    only comes near its numbers: they are fractions of 1.
    """
    pictures, _, _ = _decoded(ctx, path, labels=True)
    with _opened(path) as image:
        lossy = image.format in _LOSSY
        entries = (image.getpalette("RGB") or []) if image.mode == "P" else []
    palette = [(r, g, b) for r, g, b in zip(entries[::3], entries[1::3], entries[2::3], strict=True)]
    if pictures.ndim == 4 and (pictures[..., :1] == pictures).all():
        pictures = pictures[..., 0]
    return ((pictures / np.float32(255)).astype(np.float32) if lossy else pictures), palette


def _decoded(
    ctx: JobContext, path: Path, *, labels: bool
) -> tuple[npt.NDArray[Any], tuple[float, ...], tuple[SeriesWarning, ...]]:
    """Return all pictures of a file in one array, when each is shown, and what is to be said about them."""
    from PIL import GifImagePlugin

    strategies = GifImagePlugin.LoadingStrategy
    GifImagePlugin.LOADING_STRATEGY = strategies.RGB_AFTER_FIRST if labels else strategies.RGB_ALWAYS
    header = read_header(path)
    notes: dict[str, SeriesWarning] = {}
    durations = []
    target: npt.NDArray[Any] | None = None
    with _opened(path) as image:
        for k, page in enumerate(header.pages):
            ctx.progress(k / len(header.pages), "Decoding pictures")
            if len(header.pages) > 1:
                image.seek(page)
            picture, page_notes = _picture(image, labels=labels)
            notes |= {note.code: note for note in page_notes}
            durations.append(float(image.info.get("duration", 0) or 0))
            if target is None:
                target = empty_voxels((len(header.pages), *picture.shape), picture.dtype)
            if target.shape[:3] != header.geometry.shape or picture.shape != target.shape[1:]:
                raise DecodeError(f"{path.name} does not decode to the pictures that it declares.", code="E_DIMENSIONS")
            target[k] = picture
    assert target is not None
    timed = header.stacking == "time" and min(durations) > 0
    return target, tuple(accumulate((0.0, *durations[:-1]))) if timed else (), tuple(notes.values())


def _picture(image: Image, *, labels: bool) -> tuple[npt.NDArray[Any], list[SeriesWarning]]:
    """Return one decoded page upright: (rows, columns) of values, or (rows, columns, 3) of colours."""
    deep = any(_DEEP in str(tile[3]) for tile in getattr(image, "tile", ())) and image.mode not in _GREY_MODES
    notes = [SeriesWarning("W_COLOUR_DEPTH", "Colours of 16 bits are kept with their highest 8.")] if deep else []
    upright = _upright(image)
    mode = upright.mode
    if mode in _GREY_MODES or (labels and mode == "P"):
        values = np.asarray(upright)
        return (values.astype(np.uint8) if values.dtype == np.bool_ else values), notes
    if mode not in _COLOR_MODES:
        raise DecodeError(f"A picture in the colours of {mode} cannot be shown.", code="E_PHOTOMETRIC")
    if upright.has_transparency_data and not labels:
        colors = np.asarray(upright.convert("RGBA"))
        alpha = colors[..., 3:].astype(np.uint16)
        if (alpha < 255).any():
            notes.append(SeriesWarning("W_ALPHA", "What is transparent in the picture is shown black."))
        return (colors[..., :3] * alpha // 255).astype(np.uint8), notes
    return np.asarray(upright.convert("RGB")), notes
