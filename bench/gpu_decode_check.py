"""Decoding on a GPU: exact for every number of bits and resolution, and fast enough for the GPU's training.

    python bench/gpu_decode_check.py [--dataset shards] [--cpu]

Prints a table and ends with code 1 where a picture differs or, on a GPU, a rate stays below its threshold: 566 images/s
with 8 CPU cores and 1,133 with 16 (2000 x 1500 x 16 bit), what an H100 trains on. `--cpu` runs the same graph on DALI's
CPU decoder, to check this script where there is no GPU; rates are then only printed.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from radio_io.benchmarks.loading import measure_loader
from radio_io.codecs.htj2k import HTJ2K
from radio_io.loading.batch import Decoder
from radio_io.loading.dali_assemble import DaliPipeline
from radio_io.loading.reading import ReadConfig
from radio_io.loading.table import load_image_table

ROWS, COLUMNS = 2000, 1500
IMAGES_PER_S_AND_CORE = 1133 / 16
BATCH = 32


def main() -> None:
    """Check, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="also measure the loader on this dataset's warm shards")
    parser.add_argument("--cpu", action="store_true", help="DALI's CPU decoder")
    arguments = parser.parse_args()
    if not arguments.cpu and not torch.cuda.is_available():
        sys.exit("no GPU here; --cpu runs the same graph without one")
    decoder = Decoder.DALI_CPU if arguments.cpu else Decoder.DALI_GPU
    cores = len(os.sched_getaffinity(0))
    pipeline = DaliPipeline(decoder, threads=cores, device_id=None if arguments.cpu else 0)
    wrong = check_exactness(pipeline)
    rate = measure_decoding(pipeline, rounds=2 if arguments.cpu else 20)
    wanted = IMAGES_PER_S_AND_CORE * cores
    print(f"htj2k {ROWS} x {COLUMNS}: {rate:.0f} images/s, wanted {wanted:.0f} with {cores} cores")
    if arguments.dataset:
        table = load_image_table(arguments.dataset, "train")
        found = measure_loader(
            arguments.dataset, table, name="loader", reading=ReadConfig(), workers=cores, epochs=4, decoder=decoder
        )
        print(f"loader, decoder {decoder}: {found.images_per_s:.0f} images/s of {len(table)} images")
    if wrong or (rate < wanted and not arguments.cpu):
        sys.exit("gpu_decode_check: FAILED")
    print("gpu_decode_check: passed")


def check_exactness(pipeline: DaliPipeline) -> int:
    """Images of each number of bits, at each resolution, against our own decoder; returns how many differ."""
    wrong = 0
    for bits in (8, 10, 12, 14, 15, 16):
        image = radiograph(bits, 701, 533)
        encoded = HTJ2K.encode(image)
        for halvings in range(4):
            file = HTJ2K.reduced_image(encoded, halvings) if halvings else encoded
            wanted = HTJ2K.decode_reduced(encoded, halvings) if halvings else image
            same = equal(pipeline.decode([file]), wanted)
            wrong += not same
            print(f"{bits:2} bits, 1/{1 << halvings}: {'exact' if same else 'DIFFERS'}")
    return wrong


def measure_decoding(pipeline: DaliPipeline, *, rounds: int) -> float:
    """Images of 2000 x 1500 a second, 12 bits."""
    files = [HTJ2K.encode(radiograph(12, ROWS, COLUMNS, seed=number)) for number in range(4)] * (BATCH // 4)
    pipeline.decode(files)
    synchronize()
    began_s = time.perf_counter()
    for _ in range(rounds):
        pipeline.decode(files)
    synchronize()
    return rounds * len(files) / (time.perf_counter() - began_s)


def equal(found: Sequence[np.ndarray | torch.Tensor] | None, wanted: np.ndarray) -> bool:
    """Whether the one decoded image is that which is wanted."""
    if found is None:
        return False
    (image,) = found
    pixels = image.cpu().numpy() if isinstance(image, torch.Tensor) else image
    return pixels.shape[:2] == wanted.shape and bool((pixels[..., 0] == wanted).all())


def radiograph(bits: int, rows: int, columns: int, *, seed: int = 0) -> np.ndarray:
    """Smooth shades with noise that use all values of `bits`."""
    generator = np.random.default_rng(seed)
    down, across = np.linspace(0, 3, rows)[:, None], np.linspace(0, 4, columns)[None]
    shades = 0.5 + 0.45 * np.sin(down) * np.cos(across) + 0.01 * generator.standard_normal((rows, columns))
    image = (shades.clip(0, 1) * ((1 << bits) - 1)).astype(np.uint16)
    image[0, :2] = 0, (1 << bits) - 1
    return image


def synchronize() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
