#!/usr/bin/env python3
"""Makes a network that computes the same function and quantises badly: a few channels get a large dynamic range.

    python/make_rough_onnx.py model.onnx rough.onnx [--factor 60] [--channels 2] [--every 2]

In every second block of a ferry export, some channels of the activations between the convolutions are multiplied by the
factor (in the weights and bias that write them) and divided by it again (in the weights that read them). In float the
outputs stay as they were; with one scale a tensor all other channels lose that factor of resolution.
"""
import argparse

import numpy as np
import onnx
from onnx import numpy_helper


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("output")
    parser.add_argument("--factor", type=float, default=60.0)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--every", type=int, default=2)
    arguments = parser.parse_args()

    model = onnx.load(arguments.model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    blocks = sorted({node.name.rsplit(".", 1)[0] for node in model.graph.node if node.name.endswith(".conv2")})
    rng = np.random.default_rng(1)

    def scale(name, channels, axis, factor):
        values = numpy_helper.to_array(weights[name]).copy()
        values[(slice(None),) * axis + (channels,)] *= np.float32(factor)
        weights[name].CopyFrom(numpy_helper.from_array(values, name))

    rough = blocks[:: arguments.every]
    for block in rough:
        for writer, reader in (("conv1", "conv2"), ("conv2", "conv3")):
            if f"{block}.{reader}.weight" not in weights:
                continue
            count = weights[f"{block}.{writer}.weight"].dims[0]
            channels = rng.choice(count, arguments.channels, replace=False)
            scale(f"{block}.{writer}.weight", channels, 0, arguments.factor)
            scale(f"{block}.{writer}.bias", channels, 0, arguments.factor)
            scale(f"{block}.{reader}.weight", channels, 1, 1 / arguments.factor)
    onnx.save(model, arguments.output)
    print(f"{arguments.output}: {arguments.channels} channels times {arguments.factor:g} in {len(rough)} blocks")


if __name__ == "__main__":
    main()
