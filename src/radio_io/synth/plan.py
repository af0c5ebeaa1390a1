"""Which files an export holds: patients, their studies and images, what is wrong with some of them.

Comes in: the number of radiographs, a seed, a scale. Goes out: one `FilePlan` a file, in the order of patients; it
depends on these three alone. Refuses nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum, unique

import numpy as np

from radio_io.synth.anatomy import MIDLINE, VIEWS
from radio_io.synth.sizes import REGIONS, draw_size, region_counts
from radio_io.synth.wording import Wording, draw_language, draw_study_words, draw_wording

UID_ROOT = "2.25"
SYNTAXES = ("explicit", "implicit", "jpeg_lossless", "jpeg_ls", "jpeg_2000", "rle")
SYNTAX_SHARES = (0.30, 0.14, 0.30, 0.09, 0.08, 0.09)
BITS = (10, 11, 12, 13, 14, 15)
BITS_SHARES = (0.2, 0.03, 0.45, 0.04, 0.18, 0.1)
MONOCHROME1_SHARE = 0.07
LOOKS_INVERTED_SHARE = 0.02
FRACTURE_SHARE = 0.25
FOREIGN_MATERIAL_SHARE = 0.2
FAULTY_SHARE = 0.0025  # of the radiographs, for each fault; at least one file
_SMALLEST_SIDE = 48
_LABEL_STUDIES = (0.35, 0.4, 0.15, 0.1)  # studies of 1, 2, 3, 4 images
_PATIENT_STUDIES = (0.55, 0.25, 0.12, 0.08)


@unique
class Fault(StrEnum):
    """What is wrong with a file; the value is the reason for which it is to be rejected (| between possible ones)."""

    BLACK = "BLANK_IMAGE"
    BLACK_WITH_LETTERS = "BLANK_IMAGE|NEARLY_EMPTY"
    NEARLY_EMPTY = "NEARLY_EMPTY|BLANK_IMAGE"
    OVERSIZE = "TOO_LARGE"
    CUT_FILE = "TRUNCATED"
    CUT_STREAM = "TRUNCATED|CORRUPT_PIXELS"
    SPOILT_HEADER = "BAD_HEADER|NOT_DICOM|NO_TRANSFER_SYNTAX"
    EMPTY_FILE = "EMPTY_FILE"
    NO_PIXELS = "NO_PIXEL_DATA"
    COPY = "DUPLICATE"


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePlan:
    """One DICOM file; `looks_inverted` says that air is bright even after the header's own inversion."""

    number: int
    seed: int
    patient: int
    study: int
    series: int
    region: str
    view: str
    side: str | None
    small: bool
    rows: int
    columns: int
    bits: int
    syntax: str
    modality: str
    monochrome1: bool
    looks_inverted: bool
    fracture: bool
    foreign_material: bool
    wording: Wording
    fault: Fault | None = None
    copy_of: int | None = None

    @property
    def instance_uid(self) -> str:
        """SOPInstanceUID; a copy has that of its original."""
        return make_uid("instance", self.seed, self.number if self.copy_of is None else self.copy_of)

    @property
    def path(self) -> tuple[str, ...]:
        """Folders and name in the export: eight capitals and digits each, no extension, as on exchange media."""
        return (
            "DICOM",
            f"PA{self.patient:06}",
            f"ST{self.study:06}",
            f"SE{self.series:06}",
            f"IM{self.number:06}",
        )


def make_uid(*parts: str | int) -> str:
    """A UID of the parts alone. Source: DICOM PS3.5 B.2, the UUID form."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return f"{UID_ROOT}.{int.from_bytes(digest[:16], 'big')}"


def plan_export(*, images: int, seed: int, scale: float) -> list[FilePlan]:
    """Every DICOM image of an export: `images` good radiographs, then the faulty ones and the copies."""
    generator = np.random.default_rng([seed, 1])
    plans = list(_good(images, seed, scale, generator))
    inverted = _some(images, LOOKS_INVERTED_SHARE, generator)
    monochrome1 = _some(images, MONOCHROME1_SHARE, generator)
    plans = [
        replace(plan, looks_inverted=plan.number in inverted, monochrome1=plan.number in monochrome1) for plan in plans
    ]
    return [*plans, *_faulty(plans, scale, generator)]


def _good(images: int, seed: int, scale: float, generator: np.random.Generator) -> Iterator[FilePlan]:
    studies = _studies(images, generator)
    patient, left, language, number = -1, 0, "", 0
    for study, (region, count) in enumerate(studies):
        if left == 0:
            patient += 1
            left = 1 + int(generator.choice(len(_PATIENT_STUDIES), p=_PATIENT_STUDIES))
            language = draw_language(generator)
        left -= 1
        for plan in _study(region, count, scale, language, generator):
            yield replace(plan, number=number, seed=seed, patient=patient, study=study, series=number)
            number += 1


def _studies(images: int, generator: np.random.Generator) -> list[tuple[str, int]]:
    """Regions and numbers of images of all studies, in random order, that add up to the shares of the regions."""
    studies: list[tuple[str, int]] = []
    for region, count in region_counts(images).items():
        left = count
        while left:
            size = min(left, 1 + int(generator.choice(len(_LABEL_STUDIES), p=_LABEL_STUDIES)))
            studies.append((region, size))
            left -= size
    return [studies[int(index)] for index in generator.permutation(len(studies))]


def _study(region: str, count: int, scale: float, language: str, generator: np.random.Generator) -> Iterator[FilePlan]:
    side = None if region in MIDLINE else "LR"[int(generator.integers(2))]
    fracture = bool(generator.random() < FRACTURE_SHARE)
    foreign_material = bool(generator.random() < FOREIGN_MATERIAL_SHARE)
    modality = ("CR", "DX", "DX", "DX", "RG")[int(generator.integers(5))]
    bits = BITS[int(generator.choice(len(BITS), p=BITS_SHARES))]
    order = draw_study_words(region, side, language, generator)
    for index in range(count):
        views = VIEWS[region]
        view = views[index % len(views)]
        small = view.small is not None and bool(generator.random() < REGIONS[region].small_share)
        height, width = draw_size(region, generator, small=small)
        yield FilePlan(
            number=0,
            seed=0,
            patient=0,
            study=0,
            series=0,
            region=region,
            view=view.name,
            side=side,
            small=small,
            rows=max(_SMALLEST_SIDE, round(height * scale)),
            columns=max(_SMALLEST_SIDE, round(width * scale)),
            bits=bits,
            syntax=SYNTAXES[int(generator.choice(len(SYNTAXES), p=SYNTAX_SHARES))],
            modality=modality,
            monochrome1=False,
            looks_inverted=False,
            fracture=fracture,
            foreign_material=foreign_material,
            wording=draw_wording(region, view.name, side, language, order, generator),
        )


def _some(images: int, share: float, generator: np.random.Generator) -> frozenset[int]:
    """Numbers of a share of the images, drawn without repetition."""
    return (
        frozenset(int(n) for n in generator.choice(images, round(share * images), replace=False))
        if images
        else frozenset()
    )


def _faulty(plans: list[FilePlan], scale: float, generator: np.random.Generator) -> Iterator[FilePlan]:
    """Further files of patients of the export, each with one fault."""
    number = len(plans)
    for fault in Fault:
        for _ in range(max(1, round(FAULTY_SHARE * len(plans)))):
            original = plans[int(generator.integers(len(plans)))]
            plan = replace(original, number=number, series=number, fault=fault)
            if fault is Fault.COPY:
                plan = replace(plan, copy_of=original.number)
            elif fault is Fault.OVERSIZE:
                plan = _oversize(plan, scale, generator)
            elif fault is Fault.CUT_STREAM:
                plan = replace(plan, syntax=("jpeg_lossless", "jpeg_ls", "jpeg_2000", "rle")[number % 4])
            elif fault is Fault.CUT_FILE:
                plan = replace(plan, syntax="explicit")
            yield plan
            number += 1


def _oversize(plan: FilePlan, scale: float, generator: np.random.Generator) -> FilePlan:
    """A whole spine or leg: longer than any bin at every scale, so that small exports have one too."""
    region = ("Whole spine", "Whole leg")[int(generator.integers(2))]
    side = None if region in MIDLINE else "LR"[int(generator.integers(2))]
    wording = draw_wording(region, "AP", side, "de", draw_study_words(region, side, "de", generator), generator)
    return replace(
        plan,
        region=region,
        view="AP",
        side=side,
        small=False,
        rows=int(generator.integers(3200, 5000)),
        columns=max(96, round(int(generator.integers(900, 1500)) * scale)),
        fracture=False,
        foreign_material=False,
        wording=wording,
    )
