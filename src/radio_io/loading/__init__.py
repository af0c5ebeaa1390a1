"""From shards to batches: order, packing, reading, decoding.

The stable names are here: `make_loader`, `LoaderConfig`, `OrderState`, `Pack`, imported at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radio_io.loading.batch import LoaderConfig as LoaderConfig
    from radio_io.loading.batch import Pack as Pack
    from radio_io.loading.open_loader import make_loader as make_loader
    from radio_io.loading.order import OrderState as OrderState

_HOMES = {
    "LoaderConfig": "radio_io.loading.batch",
    "OrderState": "radio_io.loading.order",
    "Pack": "radio_io.loading.batch",
    "make_loader": "radio_io.loading.open_loader",
}
__all__ = ["LoaderConfig", "OrderState", "Pack", "make_loader"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'radio_io.loading' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
