"""Radiographs from DICOM to sharded, indexed datasets, and from these to training.

The stable names are here: `open_dataset`, `Dataset`, `Image`, `make_loader` (more of it in `radio_io.loading`), and the
errors a user can cause, `RadioError`. They are imported at first use, since importing the package must cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radio_io.dataset import Dataset as Dataset
    from radio_io.dataset import Image as Image
    from radio_io.dataset import open_dataset as open_dataset
    from radio_io.errors import RadioError as RadioError
    from radio_io.loading.open_loader import make_loader as make_loader

_HOMES = {
    "Dataset": "radio_io.dataset",
    "Image": "radio_io.dataset",
    "RadioError": "radio_io.errors",
    "make_loader": "radio_io.loading.open_loader",
    "open_dataset": "radio_io.dataset",
}
__all__ = ["Dataset", "Image", "RadioError", "make_loader", "open_dataset"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'radio_io' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
