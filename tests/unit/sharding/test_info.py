"""What a dataset says about patients in doubt."""

from pathlib import Path

from radio_io.config import BuildConfig
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset
from radio_io.sharding.info import dataset_info
from unit.dicom.make_dicom import dataset_of, file_of, picture


def write_image(folder: Path, number: int, **attributes) -> None:
    dataset = dataset_of(picture(96, 80, seed=number), bits=12, SOPInstanceUID=f"1.2.{number}", **attributes)
    (folder / f"{number}").write_bytes(file_of(dataset))


def test_counts_ids_with_and_without_an_issuer_and_studies_of_several_patients(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    write_image(source, 1, PatientID="A", StudyInstanceUID="1.1", IssuerOfPatientID="H")
    write_image(source, 2, PatientID="A", StudyInstanceUID="1.2")
    write_image(source, 3, PatientID="B", StudyInstanceUID="1.3")
    write_image(source, 4, PatientID="", StudyInstanceUID="1.3")
    write_image(source, 5, PatientID="C", StudyInstanceUID="1.4", IssuerOfPatientID="H")
    build_dataset(BuildConfig(dataset=tmp_path / "shards", sources=(str(source),), workers=0), NoProgress())
    write_image(source, 6, PatientID="D", StudyInstanceUID="1.6", ConversionType="DF")
    write_image(source, 7, PatientID="E", StudyInstanceUID="1.7", BurnedInAnnotation="NO", ConversionType="DF")
    build_dataset(BuildConfig(dataset=tmp_path / "shards", sources=(str(source),), workers=0), NoProgress())
    found = dataset_info(tmp_path / "shards")
    assert found.unseen_text == 1
    assert (found.images, found.patients, found.doubtful_ids, found.mixed_studies) == (7, 7, 1, 1)
