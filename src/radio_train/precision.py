"""Packs on the device, and the precision in which they are computed.

Comes in: a pack or a configuration, and a device. Goes out: the pack with its pixels there; a context for the forward
pass. Pixels travel as 16-bit numbers, a quarter of what float32 values with their targets would be.
"""

from dataclasses import replace

import torch
from torch import Tensor

from radio_io.loading.batch import Pack
from radio_train.config import PretrainConfig


def on_device(pack: Pack[Tensor], device: torch.device) -> Pack[Tensor]:
    """The pack with its pixels on the device; what index arrays are made from stays on the host."""
    if device.type == "cpu":
        return pack
    moved = (tensor.to(device, non_blocking=True) for tensor in (pack.patches, pack.scale))
    patches, scale = moved
    return replace(pack, patches=patches, scale=scale)


def autocast(config: PretrainConfig, device: torch.device) -> torch.autocast:
    """bf16 where the configuration says so; the weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.run.precision == "bf16")
