"""What the augmentations of fine-tuning cost on one image, each change alone and all together.

Where torchio and MONAI can be imported, their transforms of the same kind and strength run beside ours in the same
process; the last columns are their time over ours. Repetitions are interleaved, and the median counts.
"""

import argparse
import importlib.util
import math
import statistics
import time
import warnings
from collections.abc import Callable

import torch

from radio_train.augment import transforms
from radio_train.augment.parameters import AugmentConfig, draw_parameters
from radio_train.augment.pipeline import apply

Change = Callable[[], object]
COEFFICIENTS = tuple(0.05 * (i - 5) for i in range(10))


def ours(image: torch.Tensor) -> dict[str, Change]:
    """Each change by this project."""
    keys = [f"{i:032x}" for i in range(64)]
    drawn = iter(range(10**9))

    def together() -> object:
        return apply(image, draw_parameters(AugmentConfig(), keys[next(drawn) % 64], seed=0, epoch=0))

    return {
        "affine": lambda: transforms.affine(image, 0.95, 1.05, math.radians(12)),
        "flip": lambda: transforms.flip(image),
        "gamma": lambda: transforms.gamma(image, 1.3),
        "noise": lambda: transforms.noise(image, 0.12, 1),
        "bias field": lambda: transforms.bias(image, COEFFICIENTS, 3),
        "blur": lambda: transforms.blur(image, 1.2, 1.4),
        "crop": lambda: transforms.crop(image, 0.95, 0.95, 0.5, 0.5).clone(),
        "all, as drawn": together,
    }


def torchio_changes(image: torch.Tensor) -> dict[str, Change]:
    """The same by torchio; its images have three dimensions."""
    import torchio

    subject = torchio.ScalarImage(tensor=image[None, :, :, None].clone())
    rows, columns = (round(side * 0.95) for side in image.shape)
    chain = torchio.Compose(
        [
            torchio.RandomAffine(scales=(0.1, 0.1, 0), degrees=(0, 0, 20), p=0.5),
            torchio.RandomFlip(axes=(1,), flip_probability=0.5),
            torchio.RandomGamma(log_gamma=0.5, p=0.5),
            torchio.RandomNoise(std=(0, 0.25), p=0.3),
            torchio.RandomBiasField(coefficients=0.5, order=3, p=0.3),
            torchio.RandomBlur(std=(0, 2, 0, 2, 0, 0), p=0.3),
            torchio.CropOrPad((rows, columns, 1)),
        ]
    )
    single = {
        "affine": torchio.RandomAffine(scales=(0.1, 0.1, 0), degrees=(0, 0, 20)),
        "flip": torchio.RandomFlip(axes=(1,), flip_probability=1),
        "gamma": torchio.RandomGamma(log_gamma=0.5),
        "noise": torchio.RandomNoise(std=(0.12, 0.12)),
        "bias field": torchio.RandomBiasField(coefficients=0.5, order=3),
        "blur": torchio.RandomBlur(std=(1.2, 1.2, 1.4, 1.4, 0, 0)),
        "crop": torchio.CropOrPad((rows, columns, 1)),
        "all, as drawn": chain,
    }
    return {name: (lambda change=change: change(subject)) for name, change in single.items()}


def monai_changes(image: torch.Tensor) -> dict[str, Change]:
    """The same by MONAI."""
    from monai import transforms as monai

    channel = image[None].clone()
    rows, columns = (round(side * 0.95) for side in image.shape)
    angle = math.radians(20)

    def random(name: str, p: float) -> object:
        return {
            "affine": monai.RandAffine(p, (angle,), scale_range=(0.1, 0.1), padding_mode="zeros"),
            "flip": monai.RandFlip(p, 1),
            "gamma": monai.RandAdjustContrast(p, (0.6, 1.65)),
            "noise": monai.RandGaussianNoise(p, std=0.12, sample_std=True),
            "bias field": monai.RandBiasField(3, (-0.5, 0.5), prob=p),
            "blur": monai.RandGaussianSmooth((0.5, 2), (0.5, 2), prob=p),
            "crop": monai.RandSpatialCrop((rows, columns), random_size=False),
        }[name]

    shares = {"affine": 0.5, "flip": 0.5, "gamma": 0.5, "noise": 0.3, "bias field": 0.3, "blur": 0.3, "crop": 1.0}
    made: dict[str, object] = {name: random(name, 1.0) for name in shares}
    made["all, as drawn"] = monai.Compose([random(name, share) for name, share in shares.items()])
    return {name: (lambda change=change: change(channel)) for name, change in made.items()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=1500)
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    image = torch.rand(options.rows, options.columns, generator=torch.Generator().manual_seed(0))
    libraries = {"ours": ours(image)}
    for name, made in (("torchio", torchio_changes), ("monai", monai_changes)):
        if importlib.util.find_spec(name):
            libraries[name] = made(image)
    print(
        f"{options.rows} x {options.columns}, float32, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    )
    print(f"median of {options.repetitions}, interleaved; ms (quartiles), then the time of others over ours\n")
    print("change         " + "".join(f"{name:>26}" for name in libraries) + "     ratio")
    for change in libraries["ours"]:
        times: dict[str, list[float]] = {name: [] for name in libraries}
        for repetition in range(options.repetitions + 1):
            for name, changes in libraries.items():
                began_s = time.perf_counter()
                changes[change]()
                if repetition:  # the first warms up
                    times[name].append(1000 * (time.perf_counter() - began_s))
        shown, medians = "", {}
        for name, values in times.items():
            low, medians[name], high = statistics.quantiles(values, n=4)
            shown += f"{f'{medians[name]:.1f} ({low:.1f} to {high:.1f})':>26}"
        ratios = [f"{medians[name] / medians['ours']:.1f}" for name in libraries if name != "ours"]
        print(f"{change:15}{shown}     {', '.join(ratios)}")


if __name__ == "__main__":
    main()
