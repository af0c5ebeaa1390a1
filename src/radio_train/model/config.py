"""The sizes of a masked autoencoder, and the presets.

Source of `vit-mae-b48`: Buehler, Large-scale Radiograph Pre-training (TUM 2024), Table 3.2.
"""

from dataclasses import dataclass

from radio_io.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class MaeConfig:
    """A ViT masked autoencoder; the defaults are those of the thesis.

    Attributes:
        patch_size: Side of a patch in pixels; one grey channel.
        base_grid: Side of the position tables in patches.
        mask_ratio: Share of an image's patches that is masked; 0 for fine-tuning and embedding.
        norm_pix: Whether each target patch is normalised to mean 0 and variance 1.
        weighting: `token` weighs every masked patch alike, `image` every image.
    """

    patch_size: int = 48
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
    weighting: str = "token"
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        for size, heads in ((self.hidden_size, self.heads), (self.decoder_hidden_size, self.decoder_heads)):
            if size % heads or size % 4:
                raise ConfigError(
                    f"model: size {size} with {heads} heads; the size must be a multiple of both heads and 4"
                )
        if not 0 <= self.mask_ratio < 1:
            raise ConfigError(f"model.mask_ratio is {self.mask_ratio}; expected at least 0 and less than 1")
        if self.weighting not in ("token", "image"):
            raise ConfigError(f"model.weighting is {self.weighting!r}; expected token or image")

    @property
    def patch_pixels(self) -> int:
        """Pixels of a patch."""
        return self.patch_size**2


PRESETS = {
    "vit-mae-b48": MaeConfig(),
    "tiny": MaeConfig(
        patch_size=16,
        base_grid=24,
        hidden_size=128,
        depth=4,
        heads=4,
        mlp_size=512,
        decoder_hidden_size=64,
        decoder_depth=2,
        decoder_heads=2,
        decoder_mlp_size=256,
    ),
}
