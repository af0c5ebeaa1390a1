"""What the device can do at most: the denominator of the model FLOPs utilisation (MFU).

Comes in: a device and a precision. Goes out: dense operations a second, from the makers' data sheets for known GPUs,
measured with matrix products elsewhere (so on a CPU the MFU says how close the model comes to plain products).

Source: NVIDIA's data sheets of each product, dense BF16 with FP32 accumulation.
"""

import time

import torch

DENSE_BF16 = (
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("A40", 149.7e12),
    ("A30", 165e12),
    ("A10", 125e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L4", 121e12),
    ("RTX 6000 Ada", 364e12),
    ("RTX A6000", 154.8e12),
    ("RTX 4090", 165.2e12),
    ("RTX 3090", 71e12),
)
SIDE = 1024
MEASURE_S = 0.15


def peak_flops(device: torch.device, precision: str) -> float:
    """Operations a second of the device at most; `precision` is bf16 or fp32."""
    if device.type == "cuda" and precision == "bf16":
        name = torch.cuda.get_device_name(device)
        for known, rate in DENSE_BF16:
            if known in name:
                return rate
    return measured_flops(device, torch.bfloat16 if precision == "bf16" else torch.float32)


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of square matrix products: the best of a few."""
    a, b = (torch.ones(SIDE, SIDE, device=device, dtype=dtype) for _ in range(2))
    best_s, ends_s = float("inf"), time.perf_counter() + MEASURE_S
    while time.perf_counter() < ends_s:
        began_s = time.perf_counter()
        a @ b  # pyright: ignore[reportUnusedExpression] - only its time matters
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best_s = min(best_s, time.perf_counter() - began_s)
    return 2 * SIDE**3 / best_s
