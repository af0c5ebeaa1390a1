"""Region, side and view of headers and of single texts."""

import csv
import pickle
import time
from pathlib import Path

import pytest
from pydicom import Dataset, config, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.sr.codedict import codes

from radio_io.dicom.region_table import make_table, region_sources
from radio_io.dicom.regions import RegionMatch, RegionRules
from radio_io.errors import ConfigError

THESIS_REGIONS = (
    "Knee", "Shoulder", "Ankle", "Elbow", "Foot", "Wrist", "Hand", "Cervical spine", "Clavicle", "Thoracic spine",
    "Lumbar spine", "Skull", "Ribs", "Scapula",
)  # fmt: skip
FURTHER_REGIONS = (
    "Hip", "Pelvis", "Femur", "Lower leg", "Forearm", "Upper arm", "Finger", "Toe", "Chest", "Abdomen", "Sternum",
    "Whole spine", "Whole leg", "Jaw/teeth", "Breast",
)  # fmt: skip


STRINGS = Path(__file__).with_name("region_strings.tsv")
"""Texts as hospitals write them, with what an experienced reader takes from each; `Unknown` where it stays open."""


def strings(language: str) -> list[dict[str, str]]:
    with STRINGS.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row for row in reader if row["language"] == language]


@pytest.fixture(scope="module")
def rules() -> RegionRules:
    return RegionRules.load()


def header(**attributes: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        dataset.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return dataset


def code(value: str, scheme: str, meaning: str = "") -> Dataset:
    return header(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def test_knows_the_regions_by_these_names(rules: RegionRules):
    assert rules.regions == (*THESIS_REGIONS, *FURTHER_REGIONS, "Unknown")


@pytest.mark.parametrize(
    "text",
    ["Hüfte", "HUEFTE", "HUFTE", "H?FTE", "H\ufffdFTE", "HFTE", "H FTE", "HÃ¼fte", "H\x81fte", "Hu\u0308fte"],
)
def test_reads_a_word_whose_umlaut_was_rewritten_misread_or_lost(rules: RegionRules, text: str):
    assert rules.map_text(text).region == "Hip"


def test_trusts_codes_before_body_part_before_descriptions(rules: RegionRules):
    dataset = header(BodyPartExamined="SHOULDER", SeriesDescription="Ellenbogen li seitl.")
    assert rules.map_region(dataset) == RegionMatch(
        region="Shoulder", region_source="BodyPartExamined", laterality="L", view_position="LAT"
    )
    dataset.AnatomicRegionSequence = [code("T-D9200", "SRT")]
    assert rules.map_region(dataset).region == "Knee"
    assert rules.map_region(dataset).region_source == "AnatomicRegionSequence"


@pytest.mark.parametrize("scheme", ["SRT", "SNM3", "99SDM"])
def test_reads_snomed_codes_under_each_of_their_schemes(rules: RegionRules, scheme: str):
    assert rules.map_region(header(AnatomicRegionSequence=[code("T-D8700", scheme)])).region == "Hand"


def test_reads_the_meaning_of_a_local_code(rules: RegionRules):
    dataset = header(AnatomicRegionSequence=[code("T-D9200", "99LOCAL", "Sprunggelenk")])
    assert rules.map_region(dataset).region == "Ankle"


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("Knee", "Knee"), ("Shoulder", "Shoulder"), ("AnkleJoint", "Ankle"), ("ElbowJoint", "Elbow"), ("Foot", "Foot"),
        ("WristJoint", "Wrist"), ("Hand", "Hand"), ("CervicalSpine", "Cervical spine"), ("Clavicle", "Clavicle"),
        ("ThoracicSpine", "Thoracic spine"), ("LumbarSpine", "Lumbar spine"), ("Skull", "Skull"), ("Rib", "Ribs"),
        ("Scapula", "Scapula"), ("Hip", "Hip"), ("HipJoint", "Hip"), ("Pelvis", "Pelvis"), ("Femur", "Femur"),
        ("Thigh", "Femur"), ("LowerLeg", "Lower leg"), ("Fibula", "Lower leg"), ("Forearm", "Forearm"),
        ("UpperArm", "Upper arm"), ("Humerus", "Upper arm"), ("Finger", "Finger"), ("Thumb", "Finger"), ("Toe", "Toe"),
        ("Chest", "Chest"), ("Abdomen", "Abdomen"), ("Sternum", "Sternum"), ("JawRegion", "Jaw/teeth"),
        ("Mandible", "Jaw/teeth"), ("Breast", "Breast"), ("Patella", "Knee"), ("Calcaneus", "Foot"),
        ("SacroiliacJoint", "Pelvis"), ("Extremity", "Unknown"), ("Spine", "Unknown"), ("Neck", "Unknown"),
    ],
)  # fmt: skip
def test_maps_the_codes_of_the_standard(rules: RegionRules, name: str, region: str):
    concept = getattr(codes.SCT, name)
    assert rules.map_region(header(AnatomicRegionSequence=[code(concept.value, "SCT")])).region == region


def test_takes_the_side_of_a_code_from_its_modifier(rules: RegionRules):
    item = code("72696002", "SCT")
    item.AnatomicRegionModifierSequence = [code("24028007", "SCT", "Right")]
    assert rules.map_region(header(AnatomicRegionSequence=[item])).laterality == "R"


@pytest.mark.parametrize(
    ("value", "view"),
    [("399348003", "AP"), ("R-40888", "PA"), ("399067008", "LAT"), ("R-102C1", "OBL"), ("399368009", "MLO")],
)
def test_reads_view_codes(rules: RegionRules, value: str, view: str):
    scheme = "SRT" if value.startswith("R") else "SCT"
    dataset = header(ViewCodeSequence=[code(value, scheme)], ViewPosition="AX")
    assert rules.map_region(dataset).view_position == view


@pytest.mark.parametrize(
    ("body_part", "description", "region"),
    [
        ("HAND", "Finger 3 re", "Finger"),
        ("HAND", "Dig. II li", "Finger"),
        ("HAND", "Handgelenk", "Wrist"),
        ("CHEST", "Rippen re. schräg", "Ribs"),
        ("SHOULDER", "Clavicula", "Clavicle"),
        ("EXTREMITY", "[LOWER LEG         ]", "Lower leg"),
        ("UP EXM", "Dig II", "Unknown"),
        ("UPPERLIMB", "Dig II", "Finger"),
        ("LEG", "Ganzbeinstandaufnahme", "Whole leg"),
        ("SPINE", "LWS ap", "Lumbar spine"),
    ],
)
def test_lets_a_later_text_make_the_region_finer(rules: RegionRules, body_part: str, description: str, region: str):
    assert rules.map_region(header(BodyPartExamined=body_part, SeriesDescription=description)).region == region


def test_overrules_a_body_part_that_both_modality_and_order_contradict(rules: RegionRules):
    dataset = header(BodyPartExamined="CHEST", SeriesDescription="Knie re. ap", StudyDescription="Rö Knie rechts")
    assert rules.map_region(dataset).region == "Knee"
    assert rules.map_region(dataset).region_source == "SeriesDescription"
    dataset.StudyDescription = "Rö Thorax, Knie"
    assert rules.map_region(dataset).region == "Chest"


def test_prefers_the_header_for_the_side(rules: RegionRules):
    assert rules.map_region(header(ImageLaterality="L", SeriesDescription="Knie re")).laterality == "L"
    assert rules.map_region(header(Laterality="", SeriesDescription="Knie re")).laterality == "R"


def test_gives_unknown_for_an_empty_header(rules: RegionRules):
    expected = RegionMatch(region="Unknown", region_source="none", laterality=None, view_position=None)
    assert rules.map_region(Dataset()) == expected


def test_never_lets_free_text_out(rules: RegionRules):
    dataset = header(
        BodyPartExamined="MUSTERMANN", ViewPosition="ERIKA", Laterality="X", StudyDescription="Mustermann, Knie"
    )
    match = rules.map_region(dataset)
    assert match == RegionMatch(region="Knee", region_source="StudyDescription", laterality=None, view_position=None)


@pytest.mark.parametrize("value", [["KNEE", "KNEE"], ["", "KNEE"], "KNEE\x00", " knee "])
def test_reads_values_that_are_not_one_plain_string(rules: RegionRules, value: object):
    assert rules.map_region(header(BodyPartExamined=value)).region == "Knee"


def test_pickles(rules: RegionRules):
    assert pickle.loads(pickle.dumps(rules)).map_text("OSG li") == rules.map_text("OSG li")


def test_pickles_with_the_file_of_the_user_and_is_made_once(tmp_path: Path):
    extra = tmp_path / "ours.toml"
    extra.write_text('[regions."Knee"]\nde = ["gelenk am bein"]\n', encoding="utf-8")
    content = pickle.dumps(RegionRules.load(extra))
    extra.unlink()
    found = pickle.loads(content)
    assert found.map_text("Gelenk am Bein").region == "Knee"
    assert pickle.loads(content) is found


def test_answers_within_a_millisecond_a_header():
    rules = RegionRules.load()
    headers = [header(BodyPartExamined="KNIE", SeriesDescription=f"Knie re. ap {i}") for i in range(300)]
    started = time.perf_counter()
    for dataset in headers:
        rules.map_region(dataset)
    assert (time.perf_counter() - started) / 300 < 1e-3


def test_lets_a_file_of_the_user_come_first(tmp_path: Path):
    extra = tmp_path / "ours.toml"
    extra.write_text(
        '[regions."Knee"]\nde = ["kg"]\n[regions."Hip"]\nany = ["bein"]\n[regions."Larynx"]\nany = ["kehlkopf*"]\n',
        encoding="utf-8",
    )
    rules = RegionRules.load(extra)
    assert rules.map_text("KG re").region == "Knee"
    assert rules.map_text("Bein").region == "Hip"
    assert rules.map_text("Kehlkopf seitl.").region == "Larynx"
    assert rules.map_text("Schulter").region == "Shoulder"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[regions.", "not TOML"),
        ('[regions."knee"]\nde = ["kg"]', "written 'Knee'"),
        ("[regions.Knee]\nde = 3", "list of texts"),
        ('[regions.Knee]\nnl = ["knie"]', "unknown key 'nl'"),
        ('[places.Knee]\nde = ["kg"]', "unknown section"),
        ('[groups.x]\nany = ["y"]\nregions = ["Nose"]', "unknown region 'Nose'"),
        ('[groups.x]\nany = ["y"]', "needs `regions`"),
    ],
)
def test_refuses_a_file_of_another_form(tmp_path: Path, content: str, message: str):
    extra = tmp_path / "ours.toml"
    extra.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        RegionRules.load(extra)


def test_refuses_a_missing_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read"):
        RegionRules.load(tmp_path / "none.toml")


def test_names_unmapped_values_without_accents(rules: RegionRules):
    assert rules.unmapped_text(header(BodyPartExamined="ÖHR 3")) == "ohr 3"
    assert rules.unmapped_text(header(BodyPartExamined="KNEE")) is None


def test_gives_each_code_to_one_region():
    for value, concepts in make_table(region_sources()).codes.items():
        assert len(concepts) == 1, value


@pytest.mark.parametrize("language", ["de", "en", "fr", "es"])
def test_names_the_region_of_texts_in_each_language(rules: RegionRules, language: str):
    rows = strings(language)
    found = [(rules.map_text(row["text"]).region, row["region"], row["text"]) for row in rows]
    named = [(region, expected) for region, expected, _ in found if region != "Unknown"]
    right = sum(region == expected for region, expected in named)
    known = sum(expected != "Unknown" for _, expected, _ in found)
    wrong = [item for item in found if item[0] != item[1]]
    assert len(rows) >= 200
    assert right / len(named) >= 0.99, wrong
    assert right / known >= 0.97, wrong


@pytest.mark.parametrize("language", ["de", "en", "fr", "es"])
def test_names_side_and_view_of_texts_in_each_language(rules: RegionRules, language: str):
    rows = strings(language)
    matches = [rules.map_text(row["text"]) for row in rows]
    sides = [(match.laterality or "", row["laterality"], row["text"]) for match, row in zip(matches, rows, strict=True)]
    views = [
        (match.view_position or "", row["view_position"], row["text"]) for match, row in zip(matches, rows, strict=True)
    ]
    for pairs in (sides, views):
        wrong = [pair for pair in pairs if pair[0] != pair[1]]
        assert len(wrong) <= 0.01 * len(rows), wrong


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("Fr. Knie", "Unknown"), ("Prof. Dr. Becken", "Unknown"), ("Sra. Mano", "Unknown"), ("Mme Genou", "Unknown"),
        ("Frankfurt am Main", "Unknown"), ("Hals-Nasen-Ohren", "Unknown"), ("knee/ankle", "Unknown"),
        ("Rodillas de pie", "Knee"), ("Femur mit Knie", "Femur"), ("Hand ohne Finger", "Hand"),
        ("Genoux des 2 côtés", "Knee"), ("Handgelenk", "Wrist"), ("Mittelhand", "Hand"), ("Fußwurzel", "Foot"),
        ("Schulterblatt", "Scapula"), ("Oberschenkel", "Femur"), ("Oberschenkelhals", "Hip"), ("US li", "Lower leg"),
        ("US", "Unknown"), ("US Abdomen", "Abdomen"), ("Os sacrum", "Pelvis"), ("Thorax knöchern", "Ribs"),
    ],
)  # fmt: skip
def test_steps_around_traps(rules: RegionRules, text: str, region: str):
    assert rules.map_text(text).region == region


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("lower_leg_rle.dcm", ("Lower leg", "AcquisitionDeviceProcessingDescription", "R", "AP")),
        ("hand_j2k.dcm", ("Hand", "BodyPartExamined", "R", "PA")),
        ("cervical_spine_uncompressed", ("Cervical spine", "BodyPartExamined", None, "LAT")),
        ("chest_jpeg_baseline.dcm", ("Chest", "BodyPartExamined", None, "PA")),
        ("dog_thorax_uncompressed.dcm", ("Chest", "BodyPartExamined", "L", "LAT")),
    ],
)
def test_reads_headers_of_real_scanners(rules: RegionRules, name: str, match: tuple[str, str, str | None, str | None]):
    path = Path(__file__).parents[2] / "data" / "dicom" / name
    found = rules.map_region(dcmread(path, stop_before_pixels=True))
    assert (found.region, found.region_source, found.laterality, found.view_position) == match
