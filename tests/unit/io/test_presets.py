"""Vocabularies and presets of segments: what is shipped is well formed, and what is written reads back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.errors import InputError
from medviewer.core.segmentation import Segment
from medviewer.core.terminology import TERMS, CodedConcept
from medviewer.io.places import bundled
from medviewer.io.presets import Preset, all_presets, read_preset, user_presets, write_preset
from medviewer.io.terminology import (
    Term,
    categories,
    modifiers,
    regions,
    term_from_json,
    term_groups,
    term_to_json,
)

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(lambda t: t.strip())
_CODE = st.builds(CodedConcept, _TEXT, _TEXT, _TEXT)
_BYTE = st.integers(0, 255)
_TERMS = st.builds(
    Term,
    name=_TEXT.map(str.strip),
    color=st.none() | st.tuples(_BYTE, _BYTE, _BYTE),
    category=_CODE,
    type=_CODE,
    type_modifier=st.none() | _CODE,
    region=st.none() | _CODE,
    region_modifier=st.none() | _CODE,
)


@given(_TERMS)
def test_a_term_survives_json(term: Term) -> None:
    assert term_from_json(json.loads(json.dumps(term_to_json(term)))) == term


@given(st.dictionaries(st.integers(1, 65535), _TERMS, min_size=1, max_size=5), st.text(max_size=20))
def test_a_preset_reads_back(tmp_path_factory: pytest.TempPathFactory, terms: dict[int, Term], about: str) -> None:
    unique = {value: term for n, (value, term) in enumerate(terms.items()) if term.name not in names(terms, n)}
    preset = Preset("Work", unique, about.encode("utf-8", "replace").decode())
    path = tmp_path_factory.mktemp("preset") / "p.json"
    write_preset(path, preset)
    assert read_preset(path) == preset


def names(terms: dict[int, Term], before: int) -> set[str]:
    return {term.name for term in list(terms.values())[:before]}


def test_the_vocabularies_are_whole() -> None:
    groups = {group.name: group.terms for group in term_groups()}
    assert len(groups["TotalSegmentator"]) > 150
    for cid in (7153, 7166, 7191, 7192, 7193, 7194):
        assert any(name.endswith(f"(CID {cid})") for name in groups)
    assert {c.code_meaning for c in modifiers()} >= {"Left", "Right"}
    assert len(regions()) > 100
    known = {(c.code_value, c.coding_scheme_designator) for c in categories()} | {("123037004", "SCT")}
    for terms in groups.values():
        for term in terms:
            assert (term.category.code_value, term.category.coding_scheme_designator) in known
            assert all(len(c.code_meaning) <= 64 for c in term.codes.values() if c is not None), "VR LO"


def test_codes_mean_what_the_standard_says() -> None:
    """The context groups hold the codes that pydicom's own tables of the standard have for them."""
    from pydicom.sr.codedict import codes

    for cid in (7153, 7159, 7166, 7194):
        listed = getattr(codes, f"cid{cid}")
        wanted = {(c.value, c.scheme_designator) for c in (getattr(listed, name) for name in listed.dir())}
        assert {(t.type.code_value, t.type.coding_scheme_designator) for t in of_group(cid)} == wanted


def of_group(cid: int) -> tuple[Term, ...]:
    return next(g.terms for g in term_groups() if g.name.endswith(f"(CID {cid})"))


def test_every_shipped_preset_can_be_used() -> None:
    shipped = sorted((bundled("resources") / "presets").glob("*.json"))
    assert {path.stem for path in shipped} >= {"totalsegmentator", "liver_tumour", "kidney_tumour"}
    for path in shipped:
        preset = read_preset(path)
        assert sorted(preset.terms) == list(range(1, len(preset.terms) + 1)), "what nnU-Net can have"
        assert preset.about


def test_the_users_own_are_listed_and_broken_ones_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(tmp_path))
    user_presets().mkdir()
    write_preset(user_presets() / "mine.json", Preset("Mine", {3: Term(name="x")}))
    (user_presets() / "bad.json").write_text("{")
    found = [preset.name for preset in all_presets()]
    assert "Mine" in found
    assert len(found) == len(list((bundled("resources") / "presets").glob("*.json"))) + 1


def preset_text(*segments: object, version: int = 1) -> str:
    return json.dumps({"kind": "segments", "version": version, "name": "x", "segments": segments})


A = {"value": 1, "name": "a"}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "[" * 99_999, '{"kind": "segments"}',
        preset_text(A, version=2),
        preset_text(),
        preset_text(A | {"value": 0}),
        preset_text(A | {"name": "  "}),
        preset_text(A | {"color": [1, 2, 300]}),
        preset_text(A, A | {"value": 2}),
        preset_text(A, A | {"name": "b"}),
        preset_text(A | {"type": ["1", "", "b"]}),
    ],
)  # fmt: skip
def test_what_is_no_preset_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InputError):
        read_preset(path)


def test_a_preset_knows_its_segments_by_name_and_type() -> None:
    liver = CodedConcept("10200004", "SCT", "Liver")
    preset = Preset("Liver", {1: Term(name="liver", type=liver)})
    codes = preset.terms[1].codes
    assert preset.describes([Segment(7, "liver", **codes), Segment(8, "liver 2", instance=2, **codes)])
    assert not preset.describes([Segment(1, "liver")]), "the same name, another thing"
    assert not preset.describes([Segment(1, "spleen", **codes)])
    assert not preset.describes([])
    assert set(codes) == set(TERMS)
