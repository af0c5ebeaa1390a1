"""What technicians and departments write into headers about region, side and view.

Comes in: a region, side and view, a generator. Goes out: `Wording`: the texts of one image, in the language of its
hospital, right, generic, missing or wrong as in real exports. Refuses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

_Item = TypeVar("_Item")

LANGUAGES = ("de", "en", "fr", "es")
LANGUAGE_SHARES = (0.55, 0.29, 0.08, 0.08)
KINDS = ("standard", "local", "free", "missing", "generic", "wrong", "coded", "silent")
KIND_SHARES = (0.545, 0.18, 0.08, 0.10, 0.04, 0.025, 0.025, 0.005)

STANDARD = {
    "Knee": "KNEE",
    "Shoulder": "SHOULDER",
    "Ankle": "ANKLE",
    "Elbow": "ELBOW",
    "Foot": "FOOT",
    "Wrist": "WRIST",
    "Hand": "HAND",
    "Cervical spine": "CSPINE",
    "Clavicle": "CLAVICLE",
    "Thoracic spine": "TSPINE",
    "Lumbar spine": "LSPINE",
    "Skull": "SKULL",
    "Ribs": "RIB",
    "Scapula": "SCAPULA",
    "Whole spine": "WHOLE SPINE",
    "Whole leg": "LEG",
}
GENERIC = {
    **dict.fromkeys(
        ("Knee", "Shoulder", "Ankle", "Elbow", "Foot", "Wrist", "Hand", "Clavicle", "Scapula"), "EXTREMITY"
    ),
    **dict.fromkeys(("Cervical spine", "Thoracic spine", "Lumbar spine", "Whole spine"), "SPINE"),
    "Skull": "HEAD",
    "Ribs": "CHEST",
    "Whole leg": "LEG",
}
CODES = {
    "Knee": ("72696002", "T-D9200", "Knee"),
    "Shoulder": ("16982005", "T-D2220", "Shoulder"),
    "Ankle": ("70258002", "T-15750", "Ankle joint"),
    "Elbow": ("16953009", "T-15430", "Elbow joint"),
    "Foot": ("56459004", "T-D9700", "Foot"),
    "Wrist": ("74670003", "T-15460", "Wrist joint"),
    "Hand": ("85562004", "T-D8700", "Hand"),
    "Cervical spine": ("122494005", "T-11501", "Cervical spine"),
    "Clavicle": ("51299004", "T-12310", "Clavicle"),
    "Thoracic spine": ("122495006", "T-11502", "Thoracic spine"),
    "Lumbar spine": ("122496007", "T-11503", "Lumbar spine"),
    "Skull": ("89546000", "T-11100", "Skull"),
    "Ribs": ("113197003", "T-11300", "Rib"),
    "Scapula": ("79601000", "T-12280", "Scapula"),
}
"""(SNOMED CT, SRT, meaning) of AnatomicRegionSequence. Source: DICOM PS3.16 CID 4009."""

_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "de": {
        "Knee": ("Knie", "Kniegelenk"),
        "Shoulder": ("Schulter", "Schultergelenk"),
        "Ankle": ("OSG", "Sprunggelenk"),
        "Elbow": ("Ellenbogen", "Ellbogengelenk"),
        "Foot": ("Fuß", "Vorfuß"),
        "Wrist": ("Handgelenk",),
        "Hand": ("Hand", "Mittelhand"),
        "Cervical spine": ("HWS", "Halswirbelsäule"),
        "Clavicle": ("Clavicula", "Schlüsselbein"),
        "Thoracic spine": ("BWS", "Brustwirbelsäule"),
        "Lumbar spine": ("LWS", "Lendenwirbelsäule"),
        "Skull": ("Schädel",),
        "Ribs": ("Rippen", "Knöcherner Thorax"),
        "Scapula": ("Scapula", "Schulterblatt"),
        "Whole spine": ("WS-Ganzaufnahme",),
        "Whole leg": ("Ganzbeinstandaufnahme",),
    },
    "en": {
        "Knee": ("Knee",),
        "Shoulder": ("Shoulder",),
        "Ankle": ("Ankle",),
        "Elbow": ("Elbow",),
        "Foot": ("Foot",),
        "Wrist": ("Wrist",),
        "Hand": ("Hand",),
        "Cervical spine": ("C-Spine", "Cervical spine"),
        "Clavicle": ("Clavicle",),
        "Thoracic spine": ("T-Spine", "Thoracic spine"),
        "Lumbar spine": ("L-Spine", "Lumbar spine"),
        "Skull": ("Skull",),
        "Ribs": ("Ribs",),
        "Scapula": ("Scapula",),
        "Whole spine": ("Whole spine",),
        "Whole leg": ("Long leg",),
    },
    "fr": {
        "Knee": ("Genou",),
        "Shoulder": ("Épaule",),
        "Ankle": ("Cheville",),
        "Elbow": ("Coude",),
        "Foot": ("Pied",),
        "Wrist": ("Poignet",),
        "Hand": ("Main",),
        "Cervical spine": ("Rachis cervical",),
        "Clavicle": ("Clavicule",),
        "Thoracic spine": ("Rachis dorsal",),
        "Lumbar spine": ("Rachis lombaire",),
        "Skull": ("Crâne",),
        "Ribs": ("Gril costal",),
        "Scapula": ("Omoplate",),
        "Whole spine": ("Rachis entier",),
        "Whole leg": ("Pangonogramme",),
    },
    "es": {
        "Knee": ("Rodilla",),
        "Shoulder": ("Hombro",),
        "Ankle": ("Tobillo",),
        "Elbow": ("Codo",),
        "Foot": ("Pie",),
        "Wrist": ("Muñeca",),
        "Hand": ("Mano",),
        "Cervical spine": ("Columna cervical",),
        "Clavicle": ("Clavícula",),
        "Thoracic spine": ("Columna dorsal",),
        "Lumbar spine": ("Columna lumbar",),
        "Skull": ("Cráneo",),
        "Ribs": ("Parrilla costal",),
        "Scapula": ("Escápula",),
        "Whole spine": ("Columna completa",),
        "Whole leg": ("Telemetría MMII",),
    },
}
_SIDES = {
    "de": {"L": ("li", "li.", "links", "lks"), "R": ("re", "re.", "rechts", "rts")},
    "en": {"L": ("LT", "Left", "L"), "R": ("RT", "Right", "R")},
    "fr": {"L": ("gauche", "G"), "R": ("droit", "D")},
    "es": {"L": ("izq", "izquierda"), "R": ("der", "derecha", "dcha")},
}
_VIEWS = {
    "de": {"AP": ("ap", "a.p."), "PA": ("dp", "pa"), "LAT": ("seitl.", "seitlich", "lat"), "OBL": ("schräg",)},
    "en": {"AP": ("AP",), "PA": ("PA",), "LAT": ("LAT", "Lateral"), "OBL": ("OBL", "Oblique")},
    "fr": {"AP": ("face",), "PA": ("PA",), "LAT": ("profil",), "OBL": ("oblique",)},
    "es": {"AP": ("AP",), "PA": ("PA",), "LAT": ("lateral", "perfil"), "OBL": ("oblicua",)},
}
_ORDERS = {"de": "Rö {words}", "en": "XR {words}", "fr": "Radiographie {words}", "es": "Rx {words}"}
_UMLAUTS = str.maketrans({"Ä": "AE", "Ö": "OE", "Ü": "UE", "ß": "SS"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """Texts of one image's header; an empty text means that the attribute is absent.

    `anatomic_code` is (value, scheme, meaning); `laterality` and `view_position` are the header's, None where absent.
    """

    body_part: str
    series_description: str
    study_description: str
    protocol_name: str
    laterality: str | None
    view_position: str | None
    anatomic_code: tuple[str, str, str] | None
    character_set: str | None


def draw_language(generator: np.random.Generator) -> str:
    """The language of a hospital."""
    return _choice(generator, LANGUAGES, LANGUAGE_SHARES)


def draw_wording(
    region: str, view: str, side: str | None, language: str, study_words: str, generator: np.random.Generator
) -> Wording:
    """The texts of one image; `study_words` is what its order calls the examination."""
    kind = _choice(generator, KINDS, KIND_SHARES)
    if kind == "coded" and region not in CODES:
        kind = "missing"
    words = _any(generator, _WORDS[language][region])
    sides = _SIDES[language][side] if side is not None else ("",)
    series = " ".join(filter(None, (words, _any(generator, sides), _any(generator, _VIEWS[language][view]))))
    silent = kind == "silent"
    tagged = generator.random(3)
    body_part = _body_part(kind, region, words, series, generator)
    return Wording(
        body_part=body_part,
        series_description="" if silent else series,
        study_description="" if silent else _ORDERS[language].format(words=study_words),
        protocol_name="" if silent or tagged[0] < 0.5 else f"{words} {view}",
        laterality=side if tagged[1] < 0.65 else None,
        view_position=view if tagged[2] < 0.7 else None,
        anatomic_code=_code(region, generator) if kind == "coded" else None,
        character_set=_choice(generator, ("ISO_IR 100", "ISO_IR 192", ""), (0.7, 0.2, 0.1)) or None,
    )


def draw_study_words(region: str, side: str | None, language: str, generator: np.random.Generator) -> str:
    """What an order calls the examination of one region."""
    words = _any(generator, _WORDS[language][region])
    return f"{words} {_any(generator, _SIDES[language][side])}" if side is not None else words


def _body_part(kind: str, region: str, words: str, series: str, generator: np.random.Generator) -> str:
    if kind == "standard":
        return STANDARD[region]
    if kind == "local":
        local = words.replace("ß", "ẞ").upper().replace("ẞ", "ß")
        return _any(generator, (local, local.translate(_UMLAUTS), local.translate(_UMLAUTS)))
    if kind == "free":
        return series[:16]
    if kind == "generic":
        return GENERIC[region]
    if kind == "wrong":
        return _any(generator, [part for name, part in STANDARD.items() if name != region])
    return ""


def _code(region: str, generator: np.random.Generator) -> tuple[str, str, str]:
    sct, srt, meaning = CODES[region]
    return _any(generator, ((sct, "SCT", meaning), (srt, "SRT", meaning), (srt, "SNM3", meaning)))


def _any(generator: np.random.Generator, items: Sequence[_Item]) -> _Item:
    return items[int(generator.integers(len(items)))]


def _choice(generator: np.random.Generator, items: tuple[str, ...], shares: tuple[float, ...]) -> str:
    return items[int(generator.choice(len(items), p=shares))]
