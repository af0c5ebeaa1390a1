"""The sizes of a masked autoencoder, and named presets.

Comes in: a preset's name or the mapping that a run folder or checkpoint holds. Goes out: `MaeConfig`. Refuses, with a
`ConfigError`, sizes that do not fit together, unknown presets and unknown keys. Imports no torch, so that the command
line can offer the presets at once.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from radio_io.errors import ConfigError

ENCODER_ONLY_FIELDS: Final = ("patch_size", "channels", "base_grid", "hidden_size", "depth", "heads", "mlp_size")


class LossWeighting(StrEnum):
    """What counts equally in the loss of a step."""

    TOKEN = "token"
    """Every masked patch: large images count more. This is the mean of a padded batch of equal images, too."""
    IMAGE = "image"
    """Every image, whatever its size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaeConfig:
    """Sizes of a masked autoencoder (ViT-MAE) and what its loss compares.

    Attributes:
        patch_size: Side of a square patch in pixels; one patch is one token.
        channels: Input channels of the patch embedding. Radiographs have 1; more means that the grey values are
            repeated in each of them, as for weights that come from colour images.
        base_grid: Side, in patches, of the grid that the position tables are made for. Other grids interpolate.
        hidden_size: Width of the encoder.
        depth: Layers of the encoder.
        heads: Attention heads of the encoder.
        mlp_size: Inner width of the encoder's MLP.
        decoder_hidden_size: Width of the decoder.
        decoder_depth: Layers of the decoder.
        decoder_heads: Attention heads of the decoder.
        decoder_mlp_size: Inner width of the decoder's MLP.
        mask_ratio: Share of an image's patches that the encoder does not see.
        norm_pix: Compare with each patch's pixels brought to mean 0 and variance 1 instead of the pixels themselves.
        layer_norm_eps: The epsilon of every layer norm.
        weighting: What counts equally in the loss.

    Source:
        K. He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022.
    """

    patch_size: int = 48
    channels: int = 1
    base_grid: int = 64
    hidden_size: int = 768
    depth: int = 12
    heads: int = 12
    mlp_size: int = 3072
    decoder_hidden_size: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    decoder_mlp_size: int = 2048
    mask_ratio: float = 0.75
    norm_pix: bool = False
    layer_norm_eps: float = 1e-12
    weighting: LossWeighting = LossWeighting.TOKEN

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        sizes = (field.name for field in fields(self) if isinstance(getattr(self, field.name), int))
        for name in sizes:
            if name != "norm_pix" and getattr(self, name) < 1:
                raise ConfigError(f"found {name}={getattr(self, name)}, expected at least 1")
        if not 0 <= self.mask_ratio < 1:
            raise ConfigError(f"found mask_ratio={self.mask_ratio}, expected at least 0 and less than 1")
        _check_width("hidden_size", self.hidden_size, "heads", self.heads)
        _check_width("decoder_hidden_size", self.decoder_hidden_size, "decoder_heads", self.decoder_heads)

    @property
    def patch_pixels(self) -> int:
        """Pixels of a patch."""
        return self.patch_size**2

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return asdict(self) | {"weighting": str(self.weighting)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MaeConfig":
        """The configuration that `to_dict` wrote.

        Example:
            >>> MaeConfig.from_dict(preset("tiny").to_dict()) == preset("tiny")
            True

        Raises:
            ConfigError: A key is unknown or a value cannot be meant.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"found the unknown model setting {unknown[0]!r}, expected one of {sorted(known)}")
        chosen = dict(values)
        if "weighting" in chosen:
            chosen["weighting"] = _weighting(chosen["weighting"])
        return cls(**chosen)


def preset(name: str, **changes: Any) -> MaeConfig:
    """The preset of this name, with some of its settings changed.

    Example:
        >>> preset("vit-mae-b48").hidden_size, preset("tiny", norm_pix=True).norm_pix
        (768, True)

    Raises:
        ConfigError: There is no such preset, no such setting, or the change does not fit.
    """
    if name not in PRESETS:
        raise ConfigError(f"found the model {name!r}, expected one of {', '.join(sorted(PRESETS))}")
    return MaeConfig.from_dict(PRESETS[name].to_dict() | changes)


def encoder_differences(left: MaeConfig, right: MaeConfig) -> tuple[str, ...]:
    """The settings in which the encoders of two models differ: none means that weights fit without adaptation."""
    return tuple(name for name in ENCODER_ONLY_FIELDS if getattr(left, name) != getattr(right, name))


def _check_width(width_name: str, width: int, heads_name: str, heads: int) -> None:
    if width % 4:  # the sine-cosine table gives a quarter each to sine and cosine of row and column
        raise ConfigError(f"found {width_name}={width}, expected a multiple of 4")
    if width % heads:
        raise ConfigError(f"found {width_name}={width} and {heads_name}={heads}, expected heads that divide the width")


def _weighting(value: object) -> LossWeighting:
    try:
        return LossWeighting(str(value))
    except ValueError as error:
        raise ConfigError(f"found weighting={value!r}, expected one of {', '.join(LossWeighting)}") from error


_B48 = MaeConfig()

PRESETS: Final[Mapping[str, MaeConfig]] = {
    # Source: A. Bühler, Large-scale Radiograph Pre-training, TUM 2024, Table 3.2.
    "vit-mae-b48": _B48,
    # For processors without an accelerator, demonstrations and tests: 200 steps of 64 images of 200 x 200 pixels take
    # about a minute on two cores.
    "tiny": replace(
        _B48,
        patch_size=16,
        base_grid=20,
        hidden_size=96,
        depth=4,
        heads=3,
        mlp_size=384,
        decoder_hidden_size=64,
        decoder_depth=2,
        decoder_heads=2,
        decoder_mlp_size=256,
    ),
}
"""Models by name. `vit-mae-b48`: 86 million parameters in the encoder, patches of 48 pixels."""
