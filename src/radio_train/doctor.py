"""Which stage limits training on this machine, and what to change.

Comes in: a dataset, a configuration. Goes out: `Diagnosis`: the measured rate of each stage in images/s, the predicted
rate and data-wait share of the first epoch and of later ones, and advice with the gain to expect. Refuses what the
loader refuses.

Decoding is what the whole loader does with images in memory, on all its threads: the codec alone on a few images that
stay in the processor's cache forecast up to a quarter too much.

The prediction: packs come as fast as the slower of reading and decoding, and training goes as fast as the slower of
packs and model; where the model computes on the CPU, it and decoding take turns.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from radio_io import atomic
from radio_io.benchmarks.loading import measure_loader
from radio_io.benchmarks.storage import StorageSpeed, forget_pages, measure_storage
from radio_io.executors import default_workers
from radio_io.loading.reading import ReadConfig
from radio_io.loading.store import MemoryStore, open_store
from radio_io.loading.table import ImageTable
from radio_train.config import PretrainConfig
from radio_train.model_speed import model_images_per_s
from radio_train.run_folder import Selection, load_table, loader_config

FAST_CODEC_GAIN = 2.0
"""How much faster a core decodes codec `fast` than `htj2k`; `radio bench codec` measures it."""
CACHE_MB_S = 1_500.0
"""What a local NVMe disk gives at least."""
DECODE_IMAGES = 48
DECODED_IMAGES = 96
VERIFY_IMAGES = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What is to be expected of an epoch."""

    images_per_s: float
    loader_images_per_s: float
    data_wait: float
    limited_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A change, and the factor on images/s that it promises (of the first epoch, or of later ones)."""

    change: str
    gain: float
    epoch: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Rates of the stages in images/s, forecasts, advice, and what a short real run of the loader gave."""

    images: int
    image_mb: float
    storage: StorageSpeed
    reading_images_per_s: float
    decoding_images_per_s: float
    workers: int
    model_images_per_s: float | None
    first_epoch: Forecast
    later_epochs: Forecast
    advice: tuple[Advice, ...]
    measured_images_per_s: float | None = None

    @property
    def error(self) -> float | None:
        """How far the forecast of the loader was off, as a share of what was measured."""
        if self.measured_images_per_s is None:
            return None
        return self.first_epoch.loader_images_per_s / self.measured_images_per_s - 1


def diagnose(
    config: PretrainConfig,
    dataset: Path,
    *,
    selection: Selection | None = None,
    with_model: bool = True,
    verify: bool = False,
    probe_s: float = 2.0,
) -> Diagnosis:
    """Measure each stage for some seconds; `verify` then reads an epoch with the loader and compares.

    Raises:
        DatasetError: No image is selected.
        StorageError: The shards cannot be read.
    """
    table = load_table(config, dataset, "train", selection or Selection())
    loading = loader_config(config)
    workers = loading.workers or default_workers()
    storage = measure_storage(dataset, table, loading.reading, probe_s=probe_s)
    image_mb = float(table.sizes.mean()) / 1e6
    reading = storage.with_streams(loading.reading.streams) / image_mb
    decoding = _decoding(dataset, table, loading.reading, workers)
    model, on_cpu = model_images_per_s(config, dataset, table) if with_model else (None, False)
    first = forecast(reading, decoding, model, model_on_cpu=on_cpu)
    cached = max(reading, CACHE_MB_S / image_mb) if loading.reading.cache else reading
    later = forecast(cached, decoding, model, model_on_cpu=on_cpu)
    measured = _measured(dataset, table, loading.reading, workers) if verify else None
    return Diagnosis(
        images=len(table),
        image_mb=image_mb,
        storage=storage,
        reading_images_per_s=reading,
        decoding_images_per_s=decoding,
        workers=workers,
        model_images_per_s=model,
        first_epoch=first,
        later_epochs=later,
        advice=tuple(_advice(table, loading.reading, storage, image_mb, first, later, workers, decoding)),
        measured_images_per_s=measured,
    )


def forecast(reading: float, decoding: float, model: float | None, *, model_on_cpu: bool = False) -> Forecast:
    """What to expect of stages of these rates.

    Example:
        >>> forecast(40.0, 140.0, 700.0).limited_by
        'reading'
    """
    loader = min(reading, decoding)
    rates = {"reading": reading, "decoding": decoding}
    if model is not None:
        rates["model"] = model
        if model_on_cpu:
            rates["model"] = 1 / (1 / model + 1 / decoding)  # they take turns on the cores
    limited_by = min(rates, key=lambda name: rates[name])
    overall = rates[limited_by]
    wait = 0.0 if model is None or limited_by == "model" else 1 - overall / model
    return Forecast(images_per_s=overall, loader_images_per_s=loader, data_wait=wait, limited_by=limited_by)


def decode_sample(images: int) -> list[int]:
    """Rows spread over the whole table: it is sorted by bin, so that its first images are its smallest ones.

    Example:
        >>> decode_sample(100)[:4], decode_sample(2)
        ([0, 2, 4, 6], [0, 1])
    """
    count = min(images, DECODE_IMAGES)
    return [number * images // count for number in range(count)]


def _decoding(dataset: Path, table: ImageTable, reading: ReadConfig, workers: int) -> float:
    some = table.part(decode_sample(len(table)))
    source = open_store(dataset, reading.store)
    try:
        with atomic.storage_errors(dataset):
            memory = MemoryStore(source, some)
    finally:
        source.close()
    alone, epochs = ReadConfig(read_ahead_bytes=reading.read_ahead_bytes), max(1, -(-DECODED_IMAGES // len(some)))
    rate = measure_loader(dataset, some, name="decoding", reading=alone, workers=workers, epochs=epochs, store=memory)
    return rate.images_per_s


def _measured(dataset: Path, table: ImageTable, reading: ReadConfig, workers: int) -> float:
    forget_pages(Path(reading.store) if reading.store and "://" not in reading.store else dataset, table)
    epochs = max(1, -(-VERIFY_IMAGES // len(table)))
    rate = measure_loader(dataset, table, name="loader", reading=reading, workers=workers, epochs=epochs)
    return rate.images_per_s


def _advice(
    table: ImageTable,
    reading: ReadConfig,
    storage: StorageSpeed,
    image_mb: float,
    first: Forecast,
    later: Forecast,
    workers: int,
    decoding: float,
) -> Iterable[Advice]:
    """What helps the stage that limits."""
    if first.limited_by == "reading":
        ceiling = decoding / first.images_per_s
        best = storage.with_streams(storage.best_streams) / storage.with_streams(reading.streams)
        if best > 1.05:
            change = f"reading.streams={storage.best_streams}"
            yield Advice(change=change, gain=min(best, ceiling), epoch="all")
        if reading.cache is None:
            needed = f"--cache DIR --cache-size {int(table.sizes.sum() / 1e9) + 1}GB on a local disk"
            yield Advice(change=needed, gain=min(CACHE_MB_S / image_mb / first.images_per_s, ceiling), epoch="later")
        if table.codec == "htj2k" and not table.halvings:
            yield Advice(change="--resolution 1/2, if that is enough", gain=min(3.8, 4 * ceiling), epoch="all")
    if later.limited_by == "decoding":
        cores = default_workers()
        if workers < cores:
            yield Advice(change=f"data.workers={cores}", gain=cores / workers, epoch="later")
        if table.codec == "htj2k":
            yield Advice(change="shards in codec fast", gain=FAST_CODEC_GAIN, epoch="later")
            yield Advice(change="reading.decoder=dali-gpu, on a GPU", gain=FAST_CODEC_GAIN, epoch="later")
