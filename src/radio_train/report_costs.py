"""What an epoch on a dataset costs, as a table of its report.

Comes in: heights and widths. Goes out: a `ReportTable`: tokens, operations, hours on some GPUs, by way of batching.
Refuses nothing.
"""

import numpy as np
from numpy.typing import NDArray

from radio_io.reporting.report import ReportTable
from radio_train.device_speed import DENSE_BF16
from radio_train.model.config import MaeConfig
from radio_train.token_table import compare_batching

GPUS = ("A40", "A100", "H100")
UTILISATION = 0.4


def training_costs(heights: NDArray[np.int64], widths: NDArray[np.int64]) -> ReportTable:
    """The cost of one epoch of pre-training ViT-MAE-B with 48-pixel patches, masking 75 %."""
    peaks = dict(DENSE_BF16)
    rows = [
        (
            cost.batching,
            f"{cost.tokens:,}",
            f"{cost.token_ratio - 1:+.1%}",
            f"{cost.flops:.2e}",
            f"{cost.flops_ratio - 1:+.1%}",
            *(_duration(cost.flops / (UTILISATION * peaks[gpu])) for gpu in GPUS),
        )
        for cost in compare_batching(heights, widths, MaeConfig())
    ]
    return ReportTable(
        title="Cost of an epoch",
        text=f"Pre-training ViT-MAE-B, patches of 48 pixels; hours at {UTILISATION:.0%} of a GPU's best rate in bf16.",
        columns=("batching", "tokens", "more tokens", "operations", "more operations", *GPUS),
        rows=tuple(rows),
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{seconds:.1f} s"
