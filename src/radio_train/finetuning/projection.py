"""Vectors as places in a picture: their two main directions, or UMAP's map of their neighbourhoods.

Comes in: vectors [n, width]. Goes out: places [n, 2]; the same vectors give the same places on the same machine.
Refuses UMAP where the extra `umap` is not installed.

Source: McInnes, Healy and Melville, UMAP: Uniform Manifold Approximation and Projection, 2018.
"""

import importlib.util
import warnings
from enum import StrEnum

import numpy as np

from radio_io.errors import ConfigError, UsageError
from radio_train.evaluation.outcomes import Numbers

NEIGHBOURS = 15
"""UMAP's own default: more show the whole, fewer the single images."""


START_SIZE = 10.0
"""Half the side of the square in which umap itself lays out its first places."""


class Projection(StrEnum):
    """How vectors become places."""

    PCA = "pca"
    """Distances far apart mean something, axes too; close groups overlap."""
    UMAP = "umap"
    """Who is near whom means something; distances between groups, and sizes of groups, do not."""


def parse_projection(name: str) -> Projection:
    """The projection of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in list(Projection):
        raise UsageError(f"--projection {name!r}; expected one of {', '.join(Projection)}")
    return Projection(name)


def project(values: Numbers, projection: Projection) -> Numbers:
    """[n, 2].

    Raises:
        ConfigError: UMAP is wanted, and the extra `umap` is not installed.
    """
    return main_directions(values) if projection is Projection.PCA else neighbourhoods(values)


def main_directions(values: Numbers) -> Numbers:
    """[n, 2]: the two main directions, with a sign that does not depend on the solver."""
    centred = values - values.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    two = directions[:2] * np.sign(directions[:2][np.arange(2), np.abs(directions[:2]).argmax(1)])[:, None]
    return centred @ two.T


def neighbourhoods(values: Numbers, seed: int = 0) -> Numbers:
    """[n, 2]: UMAP by the angle between vectors, as the nearest neighbours of the probe, begun at the main directions.

    Raises:
        ConfigError: The extra `umap` is not installed.
    """
    require_umap_extra()
    start = main_directions(values)
    if len(values) <= 3:  # too few for a graph of neighbours
        return start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap misses TensorFlow, which only its neural variant uses
        from umap import UMAP  # pyright: ignore[reportMissingImports] - an extra that few install
    mapper = UMAP(
        n_neighbors=min(NEIGHBOURS, len(values) - 1),
        metric="cosine",
        init=(START_SIZE * start / np.maximum(np.abs(start).max(), 1e-12)).astype(np.float32),
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(mapper.fit_transform(values.astype(np.float32)), np.float64)


def require_umap_extra() -> None:
    """Refuse to go on without UMAP.

    Raises:
        ConfigError: The extra `umap` is not installed.
    """
    if importlib.util.find_spec("umap") is None:
        raise ConfigError("UMAP needs the extra umap: pip install 'radio[umap]'; --projection pca needs nothing more")
