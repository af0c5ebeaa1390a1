"""Makes images of a finished shard again from their DICOM files.

Comes in: the configuration of the dataset and the images that are wanted. Goes out: encoded images, one after another,
by key. Refuses nothing: files that are gone, changed or refused give no image. Who calls it compares what comes with
the CRC-32 that the record has of it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from radio_io.config import BuildConfig, DatePolicy, FramePolicy, RenderMode, SplitShares, TextMode
from radio_io.dataset_file import DatasetFile
from radio_io.executors import run_units
from radio_io.index.row import ImageRow
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.sharding.bins import Bins
from radio_io.sharding.plan import PlannedFile, planned_shards
from radio_io.sharding.sample import Sample, SampleContext, sample_context
from radio_io.sharding.shard_unit import one_sample
from radio_io.sources.archives import unpack_compressed


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """The DICOM files of a dataset, by its frozen plan."""

    layout: DatasetLayout
    config: BuildConfig
    context: SampleContext

    def num_files(self, shard_id: str, rows: list[ImageRow]) -> int:
        """How many files or frames the plan has for these images."""
        return len(self._files(shard_id, rows))

    def images(self, shard_id: str, rows: list[ImageRow]) -> Iterator[tuple[str, bytes]]:
        """Key and encoded image of these rows, in their order; what cannot be made is left out."""
        wanted = {row.key for row in rows}
        files = self._files(shard_id, rows)
        unpack_compressed((file.path for file in files), self.layout.archives_dir)
        outcomes = run_units(
            partial(one_sample, self.context),
            files,
            workers=min(1, self.config.workers),
            timeout_s=self.config.file_timeout_s,
            memory_bytes=self.config.worker_memory_bytes,
        )
        for outcome in outcomes:
            if isinstance(outcome.result, Sample) and outcome.result.key in wanted:
                wanted.remove(outcome.result.key)
                yield outcome.result.key, outcome.result.encoded

    def _files(self, shard_id: str, rows: list[ImageRow]) -> list[PlannedFile]:
        """The planned files that may hold these images; others are never opened, least of all rejected ones."""
        places = {(row.instance_key, row.frame_number - 1) for row in rows}
        plan = next((plan for plan in planned_shards(self.layout) if plan.shard_id == shard_id), None)
        return [file for file in plan.files if (file.instance_key, file.frame) in places] if plan is not None else []


def image_source(layout: DatasetLayout, content: DatasetFile, config: BuildConfig | None) -> ImageSource | None:
    """The source of a dataset; None without its plan or key.

    Settings that images depend on are the dataset's own; what a build leaves out by its options is left out by the
    record here, so nothing is refused for its modality, frames or marks.

    Raises:
        KeyFileError: The key cannot be used.
    """
    if config is None or not layout.plan_dir.exists() or not layout.key_file.exists():
        return None
    pseudonyms = Pseudonymizer.from_file(layout.key_file, layout.root)
    own = dataclasses.replace(
        config,
        dataset=layout.root,
        bins=Bins.parse(content.bins),
        codec=content.codec,
        render=RenderMode(content.render),
        dates=DatePolicy(content.dates),
        splits=SplitShares(**content.splits),
        seed=content.seed,
        text=TextMode(content.text),
        modalities=None,
        frames=FramePolicy.ALL,
        allow_burned_in=True,
    )
    if pseudonyms.key_id != content.key_id:
        return None
    return ImageSource(layout=layout, config=own, context=sample_context(own, pseudonyms))
