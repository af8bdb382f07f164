"""Names, codes and colours of the anatomy of the brain: FreeSurfer's names and colours, SNOMED CT of DICOM CID 7140."""

from __future__ import annotations

from medviewer.ai.card import Label
from medviewer.training.recipes._brain import OUTPUTS, PAIRS

#: FreeSurfer's label of the left side or the midline → name, title, SNOMED CT code and meaning, colour, and the volume
#: in ml that one side of a grown-up may have.
STRUCTURES: dict[int, tuple[str, str, tuple[str, str], tuple[int, int, int], tuple[float, float]]] = {
    2: ("cerebral_white_matter", "cerebral white matter",
        ("68523003", "Cerebral White Matter"), (245, 245, 245), (120, 350)),
    3: ("cerebral_cortex", "cerebral cortex", ("40146001", "Cerebral cortex"), (205, 62, 78), (140, 400)),
    4: ("lateral_ventricle", "lateral ventricle", ("66720007", "Lateral Ventricle"), (120, 18, 134), (1.5, 70)),
    5: ("inferior_lateral_ventricle", "inferior horn of lateral ventricle",
        ("53118009", "Inferior Horn of Lateral Ventricle"), (196, 58, 250), (0.0, 8)),
    7: ("cerebellum_white_matter", "cerebellar white matter",
        ("33060004", "Cerebellar White Matter"), (220, 248, 164), (7, 26)),
    8: ("cerebellum_cortex", "cerebellar cortex", ("25991003", "Cerebellar Cortex"), (230, 148, 34), (30, 85)),
    10: ("thalamus", "thalamus", ("42695009", "Thalamus"), (0, 118, 14), (4, 12)),
    11: ("caudate", "caudate nucleus", ("11000004", "Caudate Nucleus"), (122, 186, 220), (1.8, 6.5)),
    12: ("putamen", "putamen", ("89278009", "Putamen"), (236, 13, 176), (2.6, 8.5)),
    13: ("pallidum", "globus pallidus", ("14738005", "Globus Pallidus"), (12, 48, 255), (0.7, 3)),
    17: ("hippocampus", "hippocampus", ("5366008", "Hippocampus"), (220, 216, 20), (1.6, 6.5)),
    18: ("amygdala", "amygdala", ("4958002", "Amygdala"), (103, 255, 255), (0.6, 3)),
    26: ("accumbens", "nucleus accumbens", ("427667007", "Nucleus Accumbens"), (255, 165, 0), (0.2, 1.3)),
    28: ("ventral_dc", "ventral diencephalon", ("87563008", "Diencephalon"), (165, 42, 42), (2, 7)),
    14: ("third_ventricle", "Third ventricle", ("49841001", "Third ventricle"), (204, 182, 142), (0.3, 6)),
    15: ("fourth_ventricle", "Fourth ventricle", ("35918002", "Fourth Ventricle"), (42, 204, 164), (0.5, 5)),
    16: ("brain_stem", "Brain stem", ("119238007", "Brain Stem"), (119, 159, 176), (12, 34)),
    24: ("csf", "Cerebrospinal fluid around the brain", ("65216001", "Cerebrospinal Fluid"), (60, 60, 160), (30, 900)),
}  # fmt: skip


def labels() -> tuple[Label, ...]:
    """Return the labels of the model, by value."""
    found = []
    for label, value in OUTPUTS.items():
        side = "left" if label in PAIRS else "right" if label in PAIRS.values() else ""
        left = next((a for a, b in PAIRS.items() if b == label), label)
        name, title, code, color, _ = STRUCTURES[left]
        found.append(
            Label(
                value=value,
                name=f"{side}_{name}" if side else name,
                title=f"{side.capitalize()} {title}" if side else title,
                code=(code[0], "SCT", code[1]),
                laterality=side,
                color=color,
            )
        )
    return tuple(found)


def volume_ranges() -> dict[str, tuple[float, float]]:
    """Return the plausible volume in ml of every label, by name."""
    right = {b: a for a, b in PAIRS.items()}
    ranges = [STRUCTURES[right.get(label, label)][4] for label in OUTPUTS]
    return {label.name: bounds for label, bounds in zip(labels(), ranges, strict=True)}
