"""An export whose every corner carries a marker: what a privacy test looks for afterwards.

write_planted_export()  files of all encodings, half of them undecodable, with a marker in every attribute that the
                        Basic Profile of PS3.15 or the allow-list names, in private groups, overlays, curves, icons,
                        codestreams, preamble, file meta information, trailing bytes, file and folder names, DICOMDIR
MARKERS                 the texts that must not come out, by where they stand
"""

import io
from datetime import date, timedelta
from pathlib import Path

from pydicom import Dataset, config
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from radio_io.privacy.attributes import ALLOWED_TAGS
from unit.dicom.make_dicom import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, encode, items, picture

STEM = "QZVKMARKWJ"
DIGITS = "90731907"
ROOT = f"1.2.826.0.1.3680043.10.{DIGITS}"
PROFILE = Path(__file__).parents[1] / "unit" / "privacy" / "basic_profile_2026c.tsv"
CR, SECONDARY, CT, SR = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1", "7", "2", "88.11"))
TEXTS = {"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"}
DATES = {"DA", "DT", "TM"}
# Without a true value here a file is no image at all; all other attributes of the allow-list hold markers.
NEEDED = {
    "SOPClassUID", "Modality", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PhotometricInterpretation", "NumberOfFrames", "SpecificCharacterSet",
    "BurnedInAnnotation", "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity", "PresentationLUTShape",
}  # fmt: skip
NAMES = {  # character set -> a name in it
    "ISO_IR 100": f"Müßig{STEM}latin^Jörg",
    "ISO_IR 192": f"Łęcka{STEM}utf8^Żaneta",
    "GB18030": f"王{STEM}gb^小东",
    "ISO_IR 144": f"Люкceмбypг{STEM}cyrillic",
    "\\ISO 2022 IR 87": f"Yamada^Tarou{STEM}kanji=山田^太郎",
}
FOREIGN_NAMES = ("Müßig", "Łęcka", "Żaneta", "王", "小东", "Люкceмбypг", "山田^太郎")
LONE_WORDS = tuple(word for word in FOREIGN_NAMES if len(word) > 3)

MARKERS: dict[str, str] = {}


def marker(place: str) -> str:
    """The marker of a place; the same for the same place."""
    return MARKERS.setdefault(place, f"{STEM}{len(MARKERS):04}{''.join(filter(str.isalnum, place))[:30]}")


def day_of(tag: int) -> date:
    """A date of its own for each tag, between 1931 and 1990."""
    return date(1931, 1, 1) + timedelta(days=(tag * 7919) % 21_000)


def value_for(tag: int, vr: str) -> object:
    """A value that is right for its VR and tells where it came from."""
    if vr == "PN":
        return PersonName(marker(f"{tag:08X}"))
    if vr in TEXTS:
        return marker(f"{tag:08X}")[: 16 if vr in {"AE", "CS", "SH"} else 60]
    if vr == "DA":
        return MARKERS.setdefault(f"{tag:08X}", day_of(tag).strftime("%Y%m%d"))
    if vr == "TM":
        return MARKERS.setdefault(f"{tag:08X}", f"03{tag % 60:02}45.{tag * 7919 % 900_000 + 99_991}")
    if vr == "DT":
        return MARKERS.setdefault(f"{tag:08X}", day_of(tag).strftime("%Y%m%d") + f"0317{tag % 60:02}.907731")
    if vr == "UI":
        return MARKERS.setdefault(f"{tag:08X}", f"{ROOT}.{tag}")
    if vr in {"IS", "DS"}:
        return DIGITS
    if vr == "AS":
        return "047Y"
    if vr in {"OB", "OW", "UN"}:
        return marker(f"{tag:08X}").encode().ljust(64)
    return None


def profile_tags() -> list[int]:
    """Every single attribute of the standard's table and of the allow-list."""
    rows = (line.split("\t") for line in PROFILE.read_text().splitlines() if not line.startswith("#"))
    listed = {int(row[0].replace(",", ""), 16) for row in rows if len(row) == 2}
    return sorted(tag for tag in listed | ALLOWED_TAGS if tag >> 16 > 2 and tag >> 16 not in {4, 0x7FE0, 0xFFFA})


def everything(number: int) -> Dataset:
    """A dataset with a marker in every attribute; UIDs differ by file, the patient is one of four."""
    dataset = Dataset()
    for tag in profile_tags():
        vr = dictionary_VR(tag)[:2] if dictionary_has_tag(tag) else "LO"
        value = None if keyword_for_tag(tag) in NEEDED else value_for(tag, vr)
        if vr == "SQ":
            dataset.add_new(tag, "SQ", Sequence([nested(f"{tag:08X}")]))
        elif value is None and tag in ALLOWED_TAGS and keyword_for_tag(tag) not in NEEDED:
            dataset[tag] = DataElement(tag, "LO", marker(f"{tag:08X}"), already_converted=True)  # text for a number
        elif value is not None:
            dataset[tag] = DataElement(tag, vr, value, already_converted=True)
    character_set, name = list(NAMES.items())[number % len(NAMES)]
    MARKERS[f"name {character_set}"] = name
    dataset.SpecificCharacterSet = character_set.split("\\") if "\\" in character_set else character_set
    dataset.PatientName = name
    dataset.PatientID = marker(f"patient {number % 4}")
    for place, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), start=1):
        uid = MARKERS.setdefault(f"{keyword} {number}", f"{ROOT}.{place}.{number // (4 - place)}")
        setattr(dataset, keyword, uid)
    dataset.AccessionNumber = MARKERS.setdefault(f"accession {number}", f"{STEM}A{number:04}")
    # A known word beside a marker: the word may be stored, the marker may not.
    dataset.BodyPartExamined = ["KNEE", "HAND", "CHEST", "FOOT"][number % 4]
    for keyword, words in {
        "SeriesDescription": "Knie re. ap",
        "StudyDescription": "Roentgen Thorax",
        "ProtocolName": "HAND PA links",
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "Ysio Max",
        "ViewPosition": "AP",
    }.items():
        dataset[keyword].value = f"{words} {marker(keyword)}"[:60]
    dataset.PatientSex, dataset.KVP = f"F{marker('sex')}"[:16], "70"
    add_odd_places(dataset)
    return dataset


def nested(place: str) -> Dataset:
    """An item with names, codes, dates, UIDs and one more level below."""
    item, inner = Dataset(), Dataset()
    for at, depth in ((item, 1), (inner, 2)):
        at.PatientName = marker(f"{place} name {depth}")[:60]
        at.CodeValue, at.CodingSchemeDesignator = marker("code value")[:16], marker("code scheme")[:16]
        at.CodeMeaning = f"Knee {marker(f'{place} meaning {depth}')}"[:60]
        at.ReferencedSOPInstanceUID = MARKERS.setdefault(f"{place} uid {depth}", f"{ROOT}.{depth}.{int(place, 16)}")
        at.AccessionNumber = marker("nested accession")[:16]
        at.ScheduledProcedureStepDescription = marker("nested step")
    item.AnatomicRegionModifierSequence = Sequence([inner])
    return item


def add_odd_places(dataset: Dataset) -> None:
    """Private groups, overlays, curves, icons, explanations of windows and look-up tables, padding."""
    block = dataset.private_block(0x0009, marker("private creator"), create=True)
    block.add_new(0x01, "LO", marker("private text"))
    block.add_new(0x02, "OB", marker("private bytes").encode())
    block.add_new(0x03, "SQ", Sequence([nested("00090010")]))
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000011, "US", 8 * 20)
    dataset.add_new(0x60000022, "LO", marker("overlay description"))
    dataset.add_new(0x60001500, "LO", marker("overlay label"))
    dataset.add_new(0x60003000, "OW", marker("overlay data").encode().ljust(160))
    dataset.add_new(0x50000022, "LO", marker("curve description"))
    dataset.add_new(0x50003000, "OW", marker("curve data").encode().ljust(64))
    icon = Dataset()
    icon.Rows, icon.Columns, icon.BitsAllocated, icon.SamplesPerPixel = 8, 8, 8, 1
    icon.add_new(0x7FE00010, "OW", marker("icon pixels").encode().ljust(64))
    dataset.IconImageSequence = Sequence([icon])
    dataset.WindowCenter, dataset.WindowWidth = "2000", "3000"
    dataset.WindowCenterWidthExplanation = marker("window explanation")
    dataset.ImageComments = marker("image comments")
    dataset.PatientComments = marker("patient comments")
    dataset.DetectorID = marker("detector")[:16]
    dataset.StationName = marker("station")[:16]
    dataset.add_new(0xFFFCFFFC, "OB", marker("trailing padding").encode())


def image_dataset(number: int, pixels, fragments=None) -> Dataset:
    """A dataset with an image, native or encapsulated."""
    dataset = everything(number)
    dataset.SOPClassUID, dataset.Modality = CR, "CR"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    data = pixels.tobytes() if fragments is None else items(fragments, delimiter=True)
    dataset.add_new(0x7FE00010, "OW" if fragments is None else "OB", data)
    if fragments is not None:
        dataset["PixelData"].is_undefined_length = True
    return dataset


def saved(dataset: Dataset, syntax: str) -> bytes:
    """The bytes of a file with markers in preamble and file meta information, and after the end."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.get("SOPClassUID", CR)))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.get("SOPInstanceUID", f"{ROOT}.0")))
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(f"{ROOT}.77")
    meta.ImplementationVersionName = marker("implementation")[:16]
    meta.SourceApplicationEntityTitle = marker("source title")[:16]
    meta.PrivateInformationCreatorUID = UID(f"{ROOT}.78")
    meta.PrivateInformation = marker("private information").encode()
    preamble = marker("preamble").encode().ljust(128, b"\0")
    little, implicit = syntax != BIG_ENDIAN, syntax == IMPLICIT
    file = FileDataset("", dataset, file_meta=meta, preamble=preamble, is_implicit_VR=implicit, is_little_endian=little)
    buffer = io.BytesIO()
    old, config.settings.writing_validation_mode = config.settings.writing_validation_mode, config.IGNORE
    try:
        file.save_as(buffer, enforce_file_format=True)
    finally:
        config.settings.writing_validation_mode = old
    return buffer.getvalue() + (b"" if syntax == DEFLATED else marker("after the end").encode())


def commented(stream: bytes, place: str, mark: bytes = b"\xff\xfe") -> bytes:
    """A JPEG family codestream with a comment segment after its first marker."""
    text = marker(place).encode()
    if mark == b"\xff\x64":  # JPEG 2000: registration value first, and after SIZ
        size = int.from_bytes(stream[4:6], "big")
        segment = mark + (len(text) + 4).to_bytes(2, "big") + b"\0\1" + text
        return stream[: 4 + size] + segment + stream[4 + size :]
    return stream[:2] + mark + (len(text) + 2).to_bytes(2, "big") + text + stream[2:]


def good_files() -> dict[str, bytes]:
    """Images in eight encodings."""
    found: dict[str, bytes] = {}
    for number, syntax in enumerate((EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)):
        pixels = picture(96 + number, 80, seed=number)
        stored = pixels.astype(">u2") if syntax == BIG_ENDIAN else pixels
        found[f"native{number}"] = saved(image_dataset(number, stored), syntax)
    kinds = (
        ("jpeg_lossless", "1.2.840.10008.1.2.4.70", b"\xff\xfe", {"bits": 12}),
        ("jpeg_ls", "1.2.840.10008.1.2.4.80", b"\xff\xfe", {}),
        ("jpeg_2000", "1.2.840.10008.1.2.4.90", b"\xff\x64", {}),
        ("rle", "1.2.840.10008.1.2.5", None, {}),
    )
    for number, (kind, syntax, mark, options) in enumerate(kinds, start=4):
        pixels = picture(96 + number, 80, seed=number)
        stream = encode(pixels, kind, **options)
        stream = commented(stream, f"{kind} comment", mark) if mark else stream
        found[kind] = saved(image_dataset(number, pixels, [stream]), syntax)
    return found


def bad_files(good: dict[str, bytes]) -> dict[str, bytes]:
    """As many files that cannot become an image, each for a reason of its own."""
    pixels = picture(90, 70, seed=99)
    blank = image_dataset(30, pixels * 0)
    burned = image_dataset(31, pixels)
    burned.BurnedInAnnotation = f"YES {marker('burned in')}"[:16]
    frames = image_dataset(32, pixels)
    frames.NumberOfFrames = "2"
    odd = image_dataset(33, pixels)
    odd.Modality = marker("modality")[:16]
    colour = image_dataset(34, pixels)
    colour.PhotometricInterpretation = marker("photometric")[:16]
    large = image_dataset(35, picture(3100, 12, seed=3))
    tomogram = image_dataset(36, pixels)
    tomogram.SOPClassUID, tomogram.Modality = CT, "CT"
    report = everything(37)
    report.SOPClassUID, report.Modality = SR, "SR"
    syntax = image_dataset(38, pixels)
    return {
        "cut": good["native0"][: len(good["native0"]) - 9000],
        "cut_jpeg": good["jpeg_lossless"][: len(good["jpeg_lossless"]) - 3000],
        "cut_j2k": good["jpeg_2000"][: len(good["jpeg_2000"]) - 4000],
        "noise_jpeg": saved(image_dataset(39, pixels, [marker("garbage").encode() * 40]), "1.2.840.10008.1.2.4.70"),
        "noise_rle": saved(image_dataset(40, pixels, [marker("rle garbage").encode() * 40]), "1.2.840.10008.1.2.5"),
        "cut_header": good["native1"][:3000],
        "blank": saved(blank, EXPLICIT),
        "burned": saved(burned, EXPLICIT),
        "frames": saved(frames, EXPLICIT),
        "odd": saved(odd, EXPLICIT),
        "colour": saved(colour, IMPLICIT),
        "large": saved(large, EXPLICIT),
        "tomogram": saved(tomogram, EXPLICIT),
        "report": saved(report, EXPLICIT),
        "syntax": saved(syntax, f"{ROOT}.79"),
        "text": f"{marker('text file')}\n".encode() * 20,
        "copy": good["native0"],
    }


def write_planted_export(folder: Path) -> tuple[int, int]:
    """Write everything below `folder`; how many files can become images, and how many cannot."""
    good = good_files()
    bad = bad_files(good)
    for number, (name, content) in enumerate((good | bad).items()):
        place = folder / marker(f"folder {number % 3}") / marker(f"inner folder {number % 2}")
        place.mkdir(parents=True, exist_ok=True)
        (place / marker(f"file {name}")).write_bytes(content)
    directory = everything(50)
    record = nested("00041220")
    record.PatientID = marker("DICOMDIR patient")
    directory.DirectoryRecordSequence = Sequence([record])
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 400
    directory.SOPClassUID = "1.2.840.10008.1.3.10"
    (folder / "DICOMDIR").write_bytes(saved(directory, EXPLICIT))
    (folder / f"{marker('link')}.dcm").symlink_to(folder / "nowhere")
    return len(good), len(bad) + 2
