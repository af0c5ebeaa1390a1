"""The packed ViT masked autoencoder: many images of any size in one row of tokens.

Comes in: a `MaskedPack`. Goes out: the weighted loss, or the predicted patches. Only visible patches are embedded and
only masked ones predicted. Parameter names are those of Hugging Face's ViTMAE.

Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022; packing as Dehghani et al., Patch n'
Pack: NaViT, NeurIPS 2023.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from radio_train.model.attention import segment_attention
from radio_train.model.config import MaeConfig
from radio_train.model.masking import MaskedPack
from radio_train.model.positions import interpolate, sine_cosine_table


class Attention(nn.Module):
    """Multi-head attention within segments."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.o_proj = nn.Linear(size, size)
        # It shifts all scores of a query alike, which softmax ignores: its true gradient is 0. Adam divides by the
        # gradient's size, so what rounding leaves of it would send the bias on a walk that differs with every machine.
        self.k_proj.bias.requires_grad_(False)

    def forward(self, x: Tensor, offsets: Tensor, longest: int) -> Tensor:
        """[tokens, size] to [tokens, size]."""
        tokens, size = x.shape
        shape = (tokens, self.heads, size // self.heads)
        q, k, v = (project(x).view(shape) for project in (self.q_proj, self.k_proj, self.v_proj))
        attended = segment_attention(q, k, v, offsets, longest)  # [tokens, heads, size / heads]
        return self.o_proj(attended.reshape(tokens, size).to(x.dtype))


class Mlp(nn.Module):
    """Two linear layers with GELU."""

    def __init__(self, size: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size, inner), nn.Linear(inner, size)

    def forward(self, x: Tensor) -> Tensor:
        """[tokens, size] to [tokens, size]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Layer(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, size: int, heads: int, inner: int, eps: float) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(size, heads), Mlp(size, inner)
        self.layernorm_before, self.layernorm_after = nn.LayerNorm(size, eps), nn.LayerNorm(size, eps)

    def forward(self, x: Tensor, offsets: Tensor, longest: int) -> Tensor:
        """[tokens, size] to [tokens, size]."""
        x = x + self.attention(self.layernorm_before(x), offsets, longest)
        return x + self.mlp(self.layernorm_after(x))


class PatchEmbeddings(nn.Module):
    """The projection of patches, kept as a convolution for its name and shape."""

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(1, config.hidden_size, config.patch_size, config.patch_size)


class Embeddings(nn.Module):
    """Patches, CLS token and positions."""

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.hidden_size) * 0.02)
        table = sine_cosine_table(config.base_grid, config.hidden_size)
        self.position_embeddings = nn.Parameter(table, requires_grad=False)
        self.patch_embeddings = PatchEmbeddings(config)
        self.base_grid = config.base_grid

    def forward(self, pack: MaskedPack) -> Tensor:
        """[E, size]."""
        projection = self.patch_embeddings.projection
        x = F.linear(pack.visible, projection.weight.flatten(1), projection.bias)
        x = x + interpolate(self.position_embeddings, pack.encoder_coordinates, self.base_grid)
        cls = (self.cls_token + self.position_embeddings[:, :1])[0]  # [1, size]
        return torch.where(pack.encoder_is_cls[:, None], cls.to(x.dtype), x)


class Encoder(nn.Module):
    """The ViT that fine-tuning keeps."""

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        sizes = (config.hidden_size, config.heads, config.mlp_size, config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(*sizes) for _ in range(config.depth))
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, pack: MaskedPack) -> Tensor:
        """[E, size]."""
        x = self.embeddings(pack)
        for layer in self.layers:
            x = layer(x, pack.encoder_offsets, pack.encoder_max)
        return self.layernorm(x)


class Decoder(nn.Module):
    """Mask tokens and encoded patches to pixels."""

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        size = config.decoder_hidden_size
        self.base_grid = config.base_grid
        self.mask_token = nn.Parameter(torch.randn(1, 1, size) * 0.02)
        self.decoder_pos_embed = nn.Parameter(sine_cosine_table(config.base_grid, size), requires_grad=False)
        self.decoder_embed = nn.Linear(config.hidden_size, size)
        sizes = (size, config.decoder_heads, config.decoder_mlp_size, config.layer_norm_eps)
        self.decoder_layers = nn.ModuleList(Layer(*sizes) for _ in range(config.decoder_depth))
        self.decoder_norm = nn.LayerNorm(size, config.layer_norm_eps)
        self.decoder_pred = nn.Linear(size, config.patch_pixels)

    def forward(self, encoded: Tensor, pack: MaskedPack) -> Tensor:
        """[M, pixels]: the predicted masked patches."""
        z = self.decoder_embed(encoded)  # [E, size]
        seen = pack.decoder_source >= 0
        # Masked rows read any row, each another: were it one, tens of thousands of gradients would queue up for it.
        spread = torch.arange(len(seen), device=z.device) % len(z)
        source = torch.where(seen, pack.decoder_source, spread)
        x = torch.where(seen[:, None], z[source], self.mask_token[0].to(z.dtype))
        places = interpolate(self.decoder_pos_embed, pack.decoder_coordinates, self.base_grid)
        x = x + torch.where(pack.decoder_is_cls[:, None], self.decoder_pos_embed[0, :1], places)
        for layer in self.decoder_layers:
            x = layer(x, pack.decoder_offsets, pack.decoder_max)
        return self.decoder_pred(self.decoder_norm(x)[pack.target_row])


class MaskedAutoencoder(nn.Module):
    """Encoder and decoder with the loss of pre-training."""

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.config = config
        self.vit, self.decoder = Encoder(config), Decoder(config)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.vit.embeddings.patch_embeddings.projection.weight.view(config.hidden_size, -1))

    def predict(self, pack: MaskedPack) -> Tensor:
        """[M, pixels]: the predicted masked patches, in the units of the loss's target."""
        return self.decoder(self.vit(pack), pack)

    def forward(self, pack: MaskedPack) -> Tensor:
        """This pack's share of the step's loss: the weighted mean squared error of its masked patches."""
        predicted = self.predict(pack)
        target = self.target(pack)
        squared = (predicted.to(target.dtype) - target) ** 2
        return (squared.mean(-1) * pack.weight).sum()

    def target(self, pack: MaskedPack) -> Tensor:
        """[M, pixels]: what is to be predicted."""
        if not self.config.norm_pix:
            return pack.target
        mean, variance = pack.target.mean(-1, keepdim=True), pack.target.var(-1, keepdim=True)
        return (pack.target - mean) / (variance + 1e-6) ** 0.5
