"""Attention inside segments of one long row of tokens.

Comes in: queries, keys and values [tokens, heads, head size] and the offsets of the segments. Goes out: the same shape;
a token attends to the tokens of its own segment alone. On CUDA this is `varlen_attn`; on the CPU a custom operator
loops over segments (a block-diagonal mask is six times slower) and does not break the graph of `torch.compile`.
"""

from collections import defaultdict
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

GROUPED_LENGTH = 64
"""Segments up to this length, where there are several of one length, are computed in one call.

Measured on one core, 64 images of 7 to 13 tokens: 21 instead of 68 us an image forward, 35 instead of 101 backward. At
24 to 48 tokens it saves a quarter, above a hundred the copies cost more than the calls.
"""

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def segment_attention(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, max_length: int) -> Tensor:
    """Attention within segments.

    `offsets` is [segments + 1] int32 from 0 to the number of tokens; equal neighbours make empty segments.
    `max_length` bounds the length of a segment and is constant, so that shapes stay static.
    """
    if q.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        if q.dtype == torch.float32:  # outside of autocast; the kernel takes half precision only
            q, k, v = (x.to(torch.bfloat16) for x in (q, k, v))
        return cast("Tensor", varlen_attn(q, k, v, offsets, offsets, max_length, max_length))
    output, _ = _segment_attention_cpu(q, k, v, offsets)
    return output


@torch.library.custom_op("radio::segment_attention", mutates_args=(), device_types="cpu")
def _segment_attention_cpu(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    output = torch.zeros_like(q)
    log_sums = torch.zeros(q.shape[:2], dtype=_accumulated(q.dtype))
    for rows in _groups(offsets):
        out, log_sum = _forward(*(_of(x, rows).transpose(1, 2) for x in (q, k, v)))
        output[rows] = out.transpose(1, 2)
        log_sums[rows] = log_sum.reshape(out.shape[:3]).transpose(1, 2)
    return output, log_sums


@_segment_attention_cpu.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    del k, v, offsets
    return torch.empty_like(q), q.new_empty(q.shape[:2], dtype=_accumulated(q.dtype))


@torch.library.custom_op("radio::segment_attention_backward", mutates_args=(), device_types="cpu")
def _segment_attention_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, output: Tensor, log_sums: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    gradients = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for rows in _groups(offsets):
        parts = [_of(x, rows).transpose(1, 2) for x in (gradient, q, k, v, output)]
        found = _backward(*parts, _of(log_sums, rows).transpose(1, 2).contiguous(), 0.0, False)
        for whole, part in zip(gradients, found, strict=True):
            whole[rows] = part.transpose(1, 2)
    return gradients


@_segment_attention_backward.register_fake
def _(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, output: Tensor, log_sums: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    del gradient, output, log_sums, offsets
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:  # noqa: ANN401
    q, k, v, offsets = inputs
    ctx.save_for_backward(q, k, v, *output, offsets)


def _differentiate(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    q, k, v, output, log_sums, offsets = ctx.saved_tensors
    return (*_segment_attention_backward(gradient.contiguous(), q, k, v, output, log_sums, offsets), None)


_segment_attention_cpu.register_autograd(_differentiate, setup_context=_save)


def _accumulated(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _groups(offsets: Tensor) -> list[Tensor | slice]:
    """The rows of the segments: those of one short length together as [segments, length], every other as a slice."""
    starts: defaultdict[int, list[int]] = defaultdict(list)
    for start, end in pairwise(offsets.tolist()):
        if end > start:
            starts[end - start].append(start)
    groups: list[Tensor | slice] = []
    for length, firsts in starts.items():
        if length <= GROUPED_LENGTH and len(firsts) > 1:
            groups.append(torch.tensor(firsts)[:, None] + torch.arange(length))
        else:
            groups += [slice(start, start + length) for start in firsts]
    return groups


def _of(x: Tensor, rows: Tensor | slice) -> Tensor:
    """[segments, length, ...] of [tokens, ...]; a slice is one segment, without a copy."""
    return x[rows][None] if isinstance(rows, slice) else x[rows]
