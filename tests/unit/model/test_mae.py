"""The autoencoder: what packing must not change, and what a broken model would show."""

from dataclasses import replace

import pytest
import torch

from packs_of_images import SMALL, gradients, images, make_pack
from radio_train.model.config import PRESETS
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack

GRIDS = [(3, 5), (6, 6), (2, 2), (1, 7), (8, 3), (4, 4), (9, 2)]


def new_model(config=SMALL, dtype=torch.float64):
    torch.manual_seed(0)
    return MaskedAutoencoder(config).to(dtype)


def step_loss(model, packs, dtype=torch.float64, *, autocast=False, trim=False):
    """Loss and gradients of a step given as packs."""
    model.zero_grad(set_to_none=True)
    total = 0.0
    for pack in packs:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(mask_pack(pack, model.config, seed=1, epoch=0, dtype=dtype, trim=trim))
        loss.backward()
        total += float(loss.detach())
    return total, gradients(model)


def same_scale(pack):
    """The helper gives scales by place; here every image has one of its own, whatever its place."""
    scale = pack.scale.clone()
    scale[: pack.num_images] = torch.tensor([[50.0, 3000.0 + int(key, 16)] for key in pack.keys]).reshape(-1, 2)
    return replace(pack, scale=scale)


def packings(every):
    """The same step: in one pack, one image a pack, reversed with a pad pack, in a larger budget, one a time."""
    one = [same_scale(make_pack(every, tokens=140, max_images=8))]
    singly = [same_scale(make_pack([image], tokens=40, max_images=2, step=every)) for image in every]
    backwards = every[::-1]
    halves = [
        same_scale(make_pack(part, tokens=90, max_images=5, step=every)) for part in (backwards[:4], backwards[4:], [])
    ]
    large = [same_scale(make_pack(every, tokens=500, max_images=30))]
    return {"singly": singly, "reversed in halves, with a pad pack": halves, "larger budget": large}, one


@pytest.mark.parametrize("weighting", ["token", "image"])
@pytest.mark.parametrize("norm_pix", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # 1e-14: sums in another order differ in the last bits of float64; 5e-5: gradients of float32 on this small model.
    [(torch.float64, 1e-14), (torch.float32, 5e-5)],
)
def test_packing_changes_nothing(weighting, norm_pix, dtype, tolerance):
    config = replace(SMALL, weighting=weighting, norm_pix=norm_pix)
    model = new_model(config, dtype)
    others, one = packings(images(*GRIDS))
    loss, wanted = step_loss(model, one, dtype)
    for name, packs in others.items():
        found_loss, found = step_loss(model, packs, dtype)
        assert found_loss == pytest.approx(loss, rel=tolerance), name
        for parameter, gradient in wanted.items():
            # A key's bias shifts all scores of a query alike, which softmax ignores: its true gradient is 0.
            largest = 1.0 if parameter.endswith("k_proj.bias") else float(gradient.abs().max())
            worst = float((found[parameter] - gradient).abs().max()) / largest
            assert worst <= 20 * tolerance, (name, parameter)


@pytest.mark.parametrize("mask_ratio", [0.0, 0.5, 0.75])
def test_rows_that_only_fill_up_change_nothing_where_they_are_left_out(mask_ratio):
    config = replace(SMALL, mask_ratio=mask_ratio)
    packs = [same_scale(make_pack(part, tokens=200, max_images=9, ratio=mask_ratio)) for part in (images(*GRIDS), [])]
    trimmed = mask_pack(packs[0], config, seed=1, epoch=0, trim=True)
    assert len(trimmed.decoder_source) == sum(h * w + 1 for h, w in GRIDS)
    assert 0 <= len(trimmed.visible) - int((trimmed.decoder_source >= 0).sum()) < len(GRIDS)
    assert trimmed.encoder_offsets[-1] == len(trimmed.visible)
    model = new_model(config)
    loss, wanted = step_loss(model, packs)
    found_loss, found = step_loss(model, packs, trim=True)
    assert found_loss == pytest.approx(loss, rel=1e-14)
    for parameter, gradient in wanted.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-12, atol=1e-15)


def test_packing_changes_little_under_bfloat16():
    model = new_model(dtype=torch.float32)
    others, one = packings(images(*GRIDS))
    loss, _ = step_loss(model, one, torch.float32, autocast=True)
    for packs in others.values():
        assert step_loss(model, packs, torch.float32, autocast=True)[0] == pytest.approx(loss, rel=5e-3)


def test_a_pad_pack_has_no_loss_and_no_gradient():
    model = new_model()
    loss, found = step_loss(model, [make_pack([], tokens=60, max_images=4)])
    assert loss == 0
    assert all(not gradient.any() for gradient in found.values())


def test_every_trained_parameter_gets_a_gradient():
    model = new_model()
    _, found = step_loss(model, packings(images(*GRIDS))[1])
    without = [name for name, p in model.named_parameters() if p.requires_grad and not found[name].any()]
    assert not without


def test_an_image_of_one_patch_can_be_trained_on():
    loss, _ = step_loss(new_model(), [make_pack(images((1, 1), (1, 2)), tokens=10, max_images=3)])
    assert loss > 0


def test_tells_masked_patches_apart():
    """A model whose position tables are zero predicts the same for every masked patch of an image."""
    model = new_model()
    masked = mask_pack(make_pack(images((6, 6)), tokens=37, max_images=1), SMALL, seed=0, epoch=0, dtype=torch.float64)

    def distinct():
        predicted = model.predict(masked)[masked.weight > 0]
        return len(torch.unique(predicted.detach().round(decimals=9), dim=0))

    assert distinct() == 27
    with torch.no_grad():
        model.decoder.decoder_pos_embed.zero_()
    assert distinct() == 1


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_begin_with_position_tables_that_are_not_zero(name):
    config = replace(PRESETS[name], depth=1, decoder_depth=1)
    model = MaskedAutoencoder(config)
    for table in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        assert table.shape[1] == config.base_grid**2 + 1
        assert float(table[0, 1:].std(0).mean()) > 0.1
        assert not table.requires_grad


def test_learns_a_fixed_image():
    config = replace(SMALL, mask_ratio=0.5)
    model = new_model(config, torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    flat = [
        (key, (image // 4096 + 1000 * (int(key, 16) + 1)).astype("uint16")) for key, image in images((4, 4), (3, 5))
    ]
    pack = make_pack(flat, tokens=40, max_images=3, ratio=0.5)
    losses = []
    for epoch in range(60):
        optimizer.zero_grad()
        loss = model(mask_pack(pack, config, seed=0, epoch=epoch))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
