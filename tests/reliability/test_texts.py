"""Names and descriptions of any kind, D18, D25 and D26: shown as they are meant, or harmlessly; never an exception."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_charset_files

from medviewer.core.shown_text import MOST_CHARACTERS, person_name, shown
from medviewer.io.catalogue_text import indexed_words, words
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_scan import scan
from medviewer.io.dicom_tags import Tag
from medviewer.io.dicom_text import decoded_text, has_bad_text
from medviewer.jobs.job import NullContext
from tests.dicom_mutators import body_start, element, with_element
from tests.outcomes import Outcome

CTX = NullContext()


def loaded(found: Outcome, *codes: str) -> Outcome:
    assert found.state != "REFUSED", str(found)
    assert found.codes - {"W_SINGLE_SLICE"} == set(codes), str(found)
    return found


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientID": "x" * 60_000},
        {"PatientComments": "x" * 1_000_000},
        {"StudyDate": "99999999"},
    ],
)
def test_D18_values_beyond_their_limits(one, outcome, elements):
    loaded(outcome(one(**elements)))


@pytest.mark.parametrize(("tag", "vr", "value"), [
    (0x00200013, b"IS", b"1A"), (0x00200011, b"IS", b"xx"), (0x00180050, b"DS", b"nan "), (0x00181060, b"DS", b"-inf"),
    (0x00200012, b"IS", b"99999999999999999999"),
])  # fmt: skip
def test_D18_values_of_another_form(one, outcome, tag, vr, value):
    path = one(InstanceNumber=None, SeriesNumber=None, SliceThickness=None)
    data = path.read_bytes()
    at = body_start(data)
    while struct.unpack_from("<HH", data, at) < (tag >> 16, tag & 0xFFFF):
        long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        size = struct.unpack_from("<I", data, at + 8)[0] + 12 if long else struct.unpack_from("<H", data, at + 6)[0] + 8
        at += size
    path.write_bytes(data[:at] + element(tag, vr, value) + data[at:])
    loaded(outcome(path))


def with_text(path, *, charset: bytes = b"", name: bytes = b"", description: bytes = b""):
    """Write a character set, a patient name and a series description into a file, byte by byte."""
    data = path.read_bytes()
    for before, tag, vr, value in (
        (0x00100020, 0x00100010, b"PN", name), (0x00100010 if name else 0x00100020, 0x0008103E, b"LO", description),
        (0x00080008, 0x00080005, b"CS", charset),
    ):  # fmt: skip
        if value:
            data = with_element(data, before, element(tag, vr, value + b" " * (len(value) % 2)))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [1_000_000, 60_000])
def test_D18_long_names_are_shown_elided_and_fast(one, tmp_path, size):
    path = one(PatientComments="x" * size, PatientID="i" * 60_000, SeriesDescription=None, PatientName=None)
    with_text(path, name=b"N" * 65_000, description=b"d" * 65_000)
    started = time.perf_counter()
    (study,) = scan(CTX, [path]).studies
    shown_texts = [study.patient_name, study.patient_id, study.series[0].description, study.series[0].title]
    assert time.perf_counter() - started < 1.0
    assert all(len(text) == MOST_CHARACTERS and text.endswith("…") for text in shown_texts)


NAMES = [
    ("ISO_IR 100", "Buc^Jérôme", "latin-1"),
    ("ISO_IR 101", "Wałęsa", "iso8859_2"),
    ("ISO_IR 109", "Ġużè Ħamm", "iso8859_3"),
    ("ISO_IR 110", "Kārlis Ūķis", "iso8859_4"),
    ("ISO_IR 144", "Люкceмбypг", "iso8859_5"),
    ("ISO_IR 126", "Διονυσιος", "iso8859_7"),
    ("ISO_IR 127", "قباني^لنزار", "iso8859_6"),
    ("ISO_IR 138", "שרון^דבורה", "iso8859_8"),
    ("ISO_IR 148", "Çavuşoğlu", "iso8859_9"),
    ("ISO_IR 203", "Œuvre^€", "iso8859_15"),
    ("ISO_IR 166", "นามสกุล", "tis_620"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小东", "utf-8"),
    ("GB18030", "Wang^XiaoDong=王^小东", "gb18030"),
    ("GBK", "Wang^XiaoDong=王^小东", "gbk"),
    ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ", "shift_jis"),
    # Spelled as many machines do.
    ("ISO IR 100", "Müller", "latin-1"),
    ("ISO-IR 144", "Люкc", "iso8859_5"),
    ("iso_ir 192", "王", "utf-8"),
    # PS3.5 H.3.1 and H.3.2: Japanese, the default repertoire and JIS X 0201 first.
    (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    ("\\ISO 2022 IR 159", b"\x1b$(D\x30\x21\x1b(B", "丂"),
    # I.2: Korean.
    (
        "\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    # J.1 and J.2: Chinese in UTF-8 and GB18030 (above). K.2: Chinese by GB 2312.
    (
        "\\ISO 2022 IR 58",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
    ("ISO 2022 IR 6\\ISO 2022 IR 100", b"Buc^J\x1b-A\xe9r\xf4me", "Buc^Jérôme"),
    ("\\ISO 2022 IR 144\\ISO 2022 IR 126", b"\x1b-L\xbb\xee\xda^\x1b-F\xc4\xe9\xef", "Люк^Διο"),
]


@pytest.mark.parametrize(("charset", "name", "how"), NAMES, ids=[n[0] for n in NAMES])
def test_D25_character_sets(one, outcome, charset, name, how):
    raw, wanted = (name, how) if isinstance(name, bytes) else (name.encode(how), name)
    path = with_text(one(PatientName=None), charset=charset.encode(), name=raw)
    assert loaded(outcome(path)).volume.patient_name == wanted


def test_D25_a_long_korean_text_and_a_long_chinese_one(one, outcome):
    """PS3.5 I.3 and K.3: each line starts over in the first character set."""
    korean = (
        b"\x1b$)CThe first line includes \xb1\xe6\xb5\xbf.\r\n"
        b"\x1b$)CThe second line includes \xb1\xe6\xb5\xbf, too.\r\nThe third line."
    )
    path = with_text(one(SeriesDescription=None), charset=b"\\ISO 2022 IR 149", description=korean)
    assert loaded(outcome(path)).volume.name == (
        "The first line includes 길동. The second line includes 길동, too. The third line."
    )
    chinese = b"1. \x1b$)A\xb5\xda\xd2\xbb\xd0\xd0\xce\xc4\xd7\xd6\xa1\xa3\r\n2. \x1b$)A\xb5\xda\xb6\xfe\xd0\xd0"
    path = with_text(one(SeriesDescription=None), charset=b"\\ISO 2022 IR 58", description=chinese)
    assert loaded(outcome(path)).volume.name == "1. 第一行文字。 2. 第二行"


@pytest.mark.parametrize("path", sorted(get_charset_files("*.dcm")), ids=lambda p: p.rsplit("/", 1)[-1])
def test_D25_files_of_pydicom(path):

    header = read_header(Path(path))
    wanted = pydicom.dcmread(path)
    if "PatientName" in wanted:
        assert decoded_text(header, Tag.PATIENT_NAME).rstrip("=") == "\\".join(
            str(name) for name in ([wanted.PatientName] if wanted["PatientName"].VM < 2 else wanted.PatientName)
        )
        assert not has_bad_text(header, Tag.PATIENT_NAME)


WRONG = [
    (b"ISO_IR 192", b"M\xfcller", "M\ufffdller"), (b"GB18030", b"M\xff\xff", "M\ufffd\ufffd"),
    (b"ISO_IR 126", b"M\xff", "M\ufffd"), (b"\\ISO 2022 IR 87", b"M\x1b$B\xff\xff\x1b(B", None),
    (b"\\ISO 2022 IR 87", b"M\x1b$Bz", None), (b"\\ISO 2022 IR 149", b"M\x1b$)C\xff\xff", None),
    (b"\\ISO 2022 IR 87", b"M\x1b%Gabc", None), (b"\\ISO 2022 IR 87", b"M\x1b", None),
    # Not declared, or by a name nobody knows: guessed, and said so.
    (b"ISO_IR 999", b"M\xfcller", "Müller"), (b"", b"M\xfcller", "Müller"), (b"", "Mü".encode(), "Mü"),
    (b"ISO_IR 6", b"M\xfcller", "Müller"), (b"\\\\\\", b"M\xfc", None), (b"x" * 5000, b"M\xfc", "Mü"),
    (b"\xff\xfe", b"M\xfc", "Mü"),
]  # fmt: skip


@pytest.mark.parametrize(("charset", "name", "wanted"), WRONG)
def test_D25_wrong_character_set(one, outcome, charset, name, wanted):
    found = loaded(outcome(with_text(one(PatientName=None), charset=charset, name=name)), "W_CHARSET")
    assert found.volume.patient_name.startswith("M")
    assert wanted is None or found.volume.patient_name == wanted


CHARSETS = [n[0].encode() for n in NAMES] + [w[0] for w in WRONG]


@given(st.sampled_from(CHARSETS), st.binary(min_size=1, max_size=60))
def test_D25_any_bytes_become_some_text(charset, value):

    from medviewer.io.dicom_header import Header

    header = Header(Path("a"), 0, 0, "", {Tag.SPECIFIC_CHARACTER_SET: charset, Tag.PATIENT_NAME: value})
    text = decoded_text(header, Tag.PATIENT_NAME)
    assert "\x1b" not in text
    assert text == shown(text)
    assert person_name(text) == person_name(text).strip()


PEOPLE = [
    ("Doe^Jane", "Doe, Jane"),
    ("Doe", "Doe"),
    ("^Jane", "Jane"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田 太郎, やまだ たろう)"),
    ("=山田^太郎=やまだ^たろう", "山田 太郎 (やまだ たろう)"),
    ("==やまだ^たろう", "やまだ たろう"),
    ("Wang^XiaoDong=王^小东=", "Wang, XiaoDong (王 小东)"),
    ("Adams^John^Robert Quincy^Rev.^B.A. M.Div.", "Adams, John Robert Quincy Rev. B.A. M.Div."),
    ("", ""), ("^^^^", ""), ("==", ""), ("a=b=c=d", "a (b, c=d)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wanted"), PEOPLE)
def test_D25_names_of_people(name, wanted):
    assert person_name(name) == wanted


@pytest.mark.parametrize("typed", ["yamada", "tarou", "山田", "太郎", "郎", "やまだ", "たろう", "まだ", "YAMADA 太"])
def test_D25_a_name_is_found_by_each_of_its_groups(typed):
    index = indexed_words(["Yamada^Tarou=山田^太郎=やまだ^たろう"])
    assert all(any(word.startswith(part) for word in index.split()) for part in words(typed))


HOSTILE = {
    b"\xff\xfe\xfa": "ÿþú", b"a\0b": "a\\x00b", b"a\x07\x1b[31mb": "a\\x07\\x1b[31mb",
    "a\u202eb".encode(): "a\\u202eb", "a\u200bb".encode(): "a\\u200bb", "a\u2066b".encode(): "a\\u2066b",
    "\ufeffa".encode(): "\\ufeffa", b"a\nb\r\nc\td": "a b c d", "a\u2028b".encode(): "a b",
    b"\\" * 1000: "\\" * 1000, b"<b>x</b>&amp;": "<b>x</b>&amp;", "می\u200cخواهم".encode(): "می\u200cخواهم",
    "😀".encode(): "😀", b"'; DROP TABLE study; --": "'; DROP TABLE study; --", b"=cmd()|' /C'!A0": "=cmd()|' /C'!A0",
    b"%s%n{0}": "%s%n{0}",
}  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_D26_hostile_text_is_shown_as_what_it_is(one, outcome, value):
    for place in ("name", "description"):
        keywords = {"PatientName": None, "SeriesDescription": None}
        found = outcome(with_text(one(**keywords), **{place: value}))
        assert found.codes <= {"W_SINGLE_SLICE", "W_CHARSET"}, str(found)
        text = found.volume.patient_name if place == "name" else found.volume.name
        assert text == HOSTILE[value]


def test_D26_codes_and_dates_cannot_hide_anything_either(one):
    path = one(Modality=None)
    path.write_bytes(with_element(path.read_bytes(), 0x0008103E, element(0x00080060, b"CS", b"C\x1b[2JT\x07")))
    (study,) = scan(CTX, [path]).studies
    assert study.series[0].modality == "C\\x1b[2JT\\x07"


@given(st.text(max_size=300), st.integers(1, 200))
def test_D26_shown_text_is_bounded_and_visible(text, most):
    found = shown(text, most)
    assert len(found) <= 10 * most + 1
    assert "\n" not in found
    assert all(c.isprintable() or c in "\u200c\u200d" for c in found)
    # What is shown once is not changed again, unless escapes have made it long.
    assert len(found) > most or shown(found, most) == found
