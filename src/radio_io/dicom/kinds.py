"""What kind of object a file holds, and which kinds are images of a modality.

Comes in: SOP class UIDs and Modality values. Goes out: the name of a kind that is no image, the modality in the
vocabulary. Refuses nothing: the header stage rejects.
"""

from types import MappingProxyType
from typing import Final

from pydicom.uid import UID

DEFAULT_MODALITIES: Final = frozenset({"CR", "DX", "RG"})
OTHER: Final = "OTHER"
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."

# Source: DICOM PS3.6 table A-1. Prefixes end at a full component; the first that fits decides.
_NO_IMAGES: Final = (
    ("1.2.840.10008.1.3.10", "a DICOMDIR"),
    (_STORAGE + "88.59", "a key object selection"),
    (_STORAGE + "88", "a structured report"),
    (_STORAGE + "11", "a presentation state"),
    (_STORAGE + "9", "a waveform"),
    (_STORAGE + "104", "an encapsulated document"),
    (_STORAGE + "66.4", "a segmentation"),
    (_STORAGE + "66.5", "a segmentation"),
    (_STORAGE + "66.6", "a tractography"),
    (_STORAGE + "66.1", "a registration"),
    (_STORAGE + "66.2", "fiducials"),
    (_STORAGE + "66.3", "a registration"),
    (_STORAGE + "66", "raw data"),
    (_STORAGE + "30", "a parametric map"),
    (_STORAGE + "4.2", "a spectroscopy"),
    (_STORAGE + "67", "a real world value mapping"),
    (_STORAGE + "68", "a surface scan"),
    (_STORAGE + "77.1.5.3", "a stereometric relationship"),
    (_STORAGE + "78", "a measurement of the eye"),
    (_STORAGE + "79.1", "a macular grid report"),
    (_STORAGE + "80.1", "a report of the eye"),
    (_STORAGE + "90.1", "a content assessment"),
    (_STORAGE + "91.1", "microscopy annotations"),
    (_STORAGE + "200", "a protocol"),
    (_STORAGE + "201", "an inventory"),
    (_STORAGE + "8", "an overlay"),
    (_STORAGE + "10", "a lookup table"),
    (_STORAGE + "129", "a curve"),
    (_STORAGE + "131", "a structured display"),
    (_STORAGE + "481.2", "a radiotherapy dose"),
    (_STORAGE + "481.3", "a radiotherapy structure set"),
    (_STORAGE + "481.5", "a radiotherapy plan"),
    (_STORAGE + "481.8", "a radiotherapy plan"),
    (_STORAGE + "481.4", "a radiotherapy record"),
    (_STORAGE + "481.6", "a radiotherapy record"),
    (_STORAGE + "481.7", "a radiotherapy record"),
    (_STORAGE + "481.9", "a radiotherapy record"),
    ("1.2.840.10008.5.1.4.34", "a radiotherapy instruction"),
    ("1.2.840.10008.5.1.4.38", "a hanging protocol"),
    ("1.2.840.10008.5.1.4.39", "a colour palette"),
    ("1.2.840.10008.5.1.4.43", "an implant template"),
    ("1.2.840.10008.5.1.4.44", "an implant template"),
    ("1.2.840.10008.5.1.4.45", "an implant template"),
)
# Other members of the radiotherapy family (second generation, 481.10 to 481.24) are no images either.
_RADIOTHERAPY: Final = _STORAGE + "481."
_RADIOTHERAPY_IMAGES: Final = frozenset({_STORAGE + "481.1", _STORAGE + "481.23", _STORAGE + "481.24"})

_NO_IMAGE_MODALITIES: Final = MappingProxyType(
    {
        "SR": "a structured report",
        "KO": "a key object selection",
        "PR": "a presentation state",
        "RTPLAN": "a radiotherapy plan",
        "RTSTRUCT": "a radiotherapy structure set",
        "RTDOSE": "a radiotherapy dose",
        "RTRECORD": "a radiotherapy record",
        "SEG": "a segmentation",
        "REG": "a registration",
        "RWV": "a real world value mapping",
        "ECG": "a waveform",
        "EPS": "a waveform",
        "HD": "a waveform",
        "RESP": "a waveform",
        "AU": "an audio recording",
        "DOC": "a document",
        "PLAN": "a plan",
        "FID": "fiducials",
        "HP": "a hanging protocol",
    }
)

# SOP classes of one modality: stands in where Modality is empty.
_MODALITY_OF_CLASS: Final = MappingProxyType(
    {
        _STORAGE + "1": "CR",
        _STORAGE + "1.1": "DX",
        _STORAGE + "1.1.1": "DX",
        _STORAGE + "1.2": "MG",
        _STORAGE + "1.2.1": "MG",
        _STORAGE + "1.3": "IO",
        _STORAGE + "1.3.1": "IO",
        _STORAGE + "12.1": "XA",
        _STORAGE + "12.1.1": "XA",
        _STORAGE + "12.2": "RF",
        _STORAGE + "12.2.1": "RF",
        _STORAGE + "2": "CT",
        _STORAGE + "4": "MR",
        _STORAGE + "6.1": "US",
        _STORAGE + "20": "NM",
        _STORAGE + "128": "PT",
    }
)

# Source: DICOM PS3.16 CID 29 and 32, and PS3.3 C.7.3.1.1.1 with its retired terms.
_TERMS: Final = (
    "ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DMS DG DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT "
    "IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG "
    "RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA "
    "XA XC XAPROTOCOL AS CD CF CP CS DD DF DM DS EC FA FS LP MA MS OPR ST VF"
)
MODALITIES: Final = frozenset(_TERMS.split())


def modality_of(term: str | None, sop_class: str) -> str | None:
    """The modality in the vocabulary: a defined term, OTHER for any other text, None where the header has none.

    Example:
        >>> modality_of("DX", ""), modality_of(None, "1.2.840.10008.5.1.4.1.1.1"), modality_of("DR. SMITH", "")
        ('DX', 'CR', 'OTHER')
    """
    if term:
        return term if term in MODALITIES else OTHER
    return _MODALITY_OF_CLASS.get(sop_class)


def registered_uid(uid: str) -> str:
    """The UID where the standard registers it, OTHER for a private one: nobody else's UID is stored."""
    return uid if UID(uid).type else OTHER


def kind_without_image(sop_class: str, modality: str | None) -> str | None:
    """What the object is, where it is no image; None where it may be one.

    Example:
        >>> kind_without_image("1.2.840.10008.5.1.4.1.1.88.11", "SR")
        'a structured report'
    """
    for prefix, kind in _NO_IMAGES:
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            return kind
    if sop_class.startswith(_RADIOTHERAPY) and sop_class not in _RADIOTHERAPY_IMAGES:
        return "a radiotherapy object"
    return _NO_IMAGE_MODALITIES.get(modality or "")
