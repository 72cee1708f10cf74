#!/usr/bin/env python3
"""Makes a checkpoint that computes the same function and quantises badly: a few channels get a large dynamic range.

    python/make_rough.py resnet101.pth rough.pth [--factor 60] [--channels 2] [--every 2]

In every second block some channels of the activations between the convolutions are multiplied by the factor (in the
batch norm that writes them) and divided by it again (in the weights that read them). In float the outputs stay as they
were; with one scale a tensor all other channels lose that factor of resolution. Needs torch.
"""
import argparse

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("output")
    parser.add_argument("--factor", type=float, default=60.0)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--every", type=int, default=2)
    arguments = parser.parse_args()

    state = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    blocks = sorted({name.rsplit(".", 2)[0] for name in state if name.endswith(".conv2.weight")})
    generator = torch.Generator().manual_seed(1)
    rough = blocks[:: arguments.every]
    for block in rough:
        for norm, reader in (("bn1", "conv2"), ("bn2", "conv3")):
            if f"{block}.{reader}.weight" not in state:
                continue
            channels = torch.randperm(len(state[f"{block}.{norm}.weight"]), generator=generator)[: arguments.channels]
            for part in ("weight", "bias"):
                state[f"{block}.{norm}.{part}"][channels] *= arguments.factor
            state[f"{block}.{reader}.weight"][:, channels] /= arguments.factor
    torch.save(state, arguments.output)
    print(f"{arguments.output}: {arguments.channels} channels times {arguments.factor:g} in {len(rough)} blocks")


if __name__ == "__main__":
    main()
