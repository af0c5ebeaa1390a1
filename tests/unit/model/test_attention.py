"""Attention within segments: exact, differentiable, traceable, blind to other segments."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from radio_train.model import attention
from radio_train.model.attention import segment_attention

OFFSETS = torch.tensor([0, 3, 10, 10, 17, 20, 20], dtype=torch.int32)


def queries(dtype=torch.float64, *, grad=False, n=20, heads=2, size=8):
    torch.manual_seed(0)
    return [torch.randn(n, heads, size, dtype=dtype, requires_grad=grad) for _ in range(3)]


def expected(q, k, v, offsets):
    parts = []
    for a, b in pairwise(offsets.tolist()):
        if b > a:
            one = [x[a:b].transpose(0, 1)[None] for x in (q, k, v)]
            parts.append(functional.scaled_dot_product_attention(*one)[0].transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
def test_attends_to_the_own_segment_alone(dtype, tolerance):
    q, k, v = queries(dtype)
    found = segment_attention(q, k, v, OFFSETS, 7)
    torch.testing.assert_close(found, expected(q, k, v, OFFSETS), atol=tolerance, rtol=tolerance)
    assert found.dtype == dtype


def test_has_the_gradient_of_the_attention_of_each_segment():
    ours, theirs = queries(grad=True), queries(grad=True)
    weight = torch.randn(20, 2, 8, dtype=torch.float64)
    (segment_attention(*ours, OFFSETS, 7) * weight).sum().backward()
    (expected(*theirs, OFFSETS) * weight).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-14, rtol=1e-13)


def test_passes_gradcheck():
    q, k, v = queries(grad=True, n=9, heads=2, size=4)
    offsets = torch.tensor([0, 4, 4, 9], dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda *x: segment_attention(*x, offsets, 5), (q, k, v))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_passes_opcheck(dtype):
    arguments = (*queries(dtype, grad=True), OFFSETS)
    # Each alias of the autograd registration is compared through the compiler, too: `test_aot_dispatch_dynamic`.
    torch.library.opcheck(torch.ops.radio.segment_attention.default, arguments)


def test_works_on_queries_that_are_not_contiguous():
    joined = torch.randn(20, 3, 2, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = joined.unbind(1)
    found = segment_attention(q, k, v, OFFSETS, 7)
    torch.testing.assert_close(found, expected(q, k, v, OFFSETS), atol=1e-14, rtol=1e-13)
    found.sum().backward()
    assert joined.grad is not None
    assert joined.grad.isfinite().all()


def test_rows_of_other_segments_change_nothing():
    q, k, v = queries()
    before = segment_attention(q, k, v, OFFSETS, 7)[:10]
    for x in (q, k, v):
        x[10:] = 1e3
    assert torch.equal(segment_attention(q, k, v, OFFSETS, 7)[:10], before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_segments_computed_together_are_bit_for_bit_those_computed_alone(dtype, monkeypatch):
    offsets = torch.tensor([0, 3, 9, 9, 12, 15, 21, 30, 100, 170], dtype=torch.int32)
    results = []
    for length in (0, 64, 1_000):
        monkeypatch.setattr(attention, "GROUPED_LENGTH", length)
        q, k, v = queries(dtype, grad=True, n=170)
        found = segment_attention(q, k, v, offsets, 70)
        (found * torch.arange(170, dtype=dtype)[:, None, None]).sum().backward()
        results.append((found.detach(), q.grad, k.grad, v.grad))
    assert [len(attention._groups(offsets)), len({3, 6, 9, 70})] == [4, 4]
    for other in results[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(results[0], other, strict=True))
