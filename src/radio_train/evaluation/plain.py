"""Results as plain values for JSON, which knows no NaN.

Comes in: dataclasses, mappings and sequences of them. Goes out: dicts, lists, numbers and texts; what does not exist
(NaN) is null. Refuses nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast


def plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """The value as JSON knows it.

    Example:
        >>> plain({"auroc": float("nan"), "images": (1, 2)})
        {'auroc': None, 'images': [1, 2]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in cast("Sequence[object]", value)]
    return str(value)


def json_bytes(value: object) -> bytes:
    """A JSON document, indented, with a newline at its end."""
    return (json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n").encode()
