#!/usr/bin/env python3
"""What FP8 (E4M3) would do to the tensors of a calibration file, against INT8: rounding and clipping noise over signal.

    python/fp8_noise.py model.int8.calibration.json

Both get one scale a tensor, the one with the least mean squared error. Needs numpy. docs/int8.md quotes the result.
"""
import json
import sys

import numpy as np


def int8(x, largest):
    step = largest / 127
    return np.minimum(np.round(x / step), 127) * step


def e4m3(x, largest):
    """3 bits of mantissa, exponents -6 to 8, subnormals of 2^-9, largest number 448."""
    scaled = x * 448 / largest
    step = 2.0 ** (np.clip(np.floor(np.log2(np.maximum(scaled, 1e-30))), -6, 8) - 3)
    return np.minimum(np.round(scaled / step) * step, 448) * largest / 448


def noise(tensor, rounded):
    counts = np.array(tensor["bins"], float)
    values = (np.arange(len(counts)) + 0.5) * tensor["bin_width"]
    largest = max(-tensor["min"], tensor["max"])
    errors = [(counts * (values - rounded(values, largest * 2.0 ** (-k / 10))) ** 2).sum() for k in range(41)]
    return (min(errors) / (counts * values ** 2).sum()) ** 0.5


def main():
    tensors = [t for t in json.load(open(sys.argv[1]))["ranges"]["tensors"].values() if any(t["bins"])]
    results = {rounded.__name__: np.array([noise(t, rounded) for t in tensors]) for rounded in (int8, e4m3)}
    for name, values in results.items():
        print(f"{name}: noise over signal, median {100 * np.median(values):.2f} %, largest {100 * values.max():.2f} %")
    print(f"e4m3 is better on {(results['e4m3'] < results['int8']).sum()} of {len(tensors)} tensors")


if __name__ == "__main__":
    main()
