#!/usr/bin/env python3
"""Makes the small checkpoints in tests/data/checkpoints, with a real PyTorch (see the README there).

Usage: python3 make_checkpoints.py FOLDER

Every value follows from its tensor's name and its index, so that the tests can tell what must be read:
element i of tensor `name` is ((37 * i + sum(name's bytes)) % 255 - 127) / 64, which float16 and bfloat16 hold exactly.
"""

import argparse
import collections
import pathlib
import sys
import zipfile

import numpy
import torch


def values(name, shape, dtype=torch.float32):
    count = int(numpy.prod(shape, dtype=numpy.int64))
    numbers = (37 * numpy.arange(count, dtype=numpy.int64) + sum(name.encode())) % 255 - 127
    return torch.from_numpy(numbers / 64).reshape(shape).to(dtype)


def narrow_resnet(dtype=torch.float32):
    """A bottleneck ResNet of one block a stage: planes 2, 4, 8, 16, two groups, five classes."""
    state = collections.OrderedDict()

    def conv(name, norm, *shape):
        state[name + ".weight"] = values(name + ".weight", shape, dtype)
        for part in ("weight", "bias", "running_mean", "running_var"):
            key = f"{norm}.{part}"
            state[key] = values(key, (shape[0],), dtype)
        state[norm + ".num_batches_tracked"] = torch.tensor(3)

    conv("conv1", "bn1", 2, 3, 7, 7)
    channels = 2
    for stage, planes in enumerate((2, 4, 8, 16), start=1):
        at = f"layer{stage}.0."
        conv(at + "conv1", at + "bn1", planes, channels, 1, 1)
        conv(at + "conv2", at + "bn2", planes, planes // 2, 3, 3)
        conv(at + "conv3", at + "bn3", planes * 4, planes, 1, 1)
        conv(at + "downsample.0", at + "downsample.1", planes * 4, channels, 1, 1)
        channels = planes * 4
    state["fc.weight"] = values("fc.weight", (5, channels), dtype)
    state["fc.bias"] = values("fc.bias", (5,), dtype)
    return state


def odd_tensors():
    """Every element type, and every way to lie in a storage."""
    state = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        name = str(dtype).split(".")[1]
        state[name] = values(name, (2, 3), dtype)
    for dtype in (torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool):
        name = str(dtype).split(".")[1]
        state[name] = torch.tensor([1, 0, 3]).to(dtype)
    base = values("base", (4, 6))
    state["base"] = base
    state["transposed"] = base.t()
    state["slice"] = base[1:3, 2:5]
    state["every_second"] = base[:, ::2]
    state["expanded"] = base[0, :1].expand(3, 4)
    state["scalar"] = base[2, 3]
    state["empty"] = torch.empty(0, 3)
    state["channels_last"] = values("channels_last", (2, 3, 4, 5)).to(memory_format=torch.channels_last)
    state["parameter"] = torch.nn.Parameter(values("parameter", (3,)))
    return state


def training_checkpoint():
    """What training scripts write: wrapped, with prefixes, beside things that are not weights."""
    state = narrow_resnet(torch.float16)
    weights = [torch.nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    weights[0].sum().backward()
    optimizer.step()
    return {
        "epoch": 12,
        "arch": "resnet",
        "state_dict": collections.OrderedDict(("module." + key, value) for key, value in state.items()),
        "best_acc1": numpy.float64(0.5),
        "device": torch.device("cpu"),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, sizes=[1, 2], names={"a", "b"}),
    }


def deflate(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    legacy = {"_use_new_zipfile_serialization": False}
    torch.save(narrow_resnet(), folder / "narrow.pth")
    torch.save(narrow_resnet(), folder / "narrow_legacy.pth", **legacy)
    deflate(folder / "narrow.pth", folder / "narrow_deflated.pth")
    torch.save(training_checkpoint(), folder / "training.pth")
    torch.save(training_checkpoint(), folder / "training_legacy.pth", **legacy)
    torch.save(odd_tensors(), folder / "odd.pth")
    torch.save(odd_tensors(), folder / "odd_legacy.pth", **legacy)
    for protocol in (3, 4, 5):
        torch.save(odd_tensors(), folder / f"odd_protocol{protocol}.pth", pickle_protocol=protocol)
    torch.save(torch.nn.Linear(2, 2), folder / "whole_model.pth")
    torch.save(torch.nn.Linear(2, 2), folder / "whole_model_legacy.pth", **legacy)
    torch.jit.script(torch.nn.ReLU()).save(str(folder / "torchscript.pt"))
    try:
        from safetensors.torch import save_file
    except ImportError:
        sys.exit("safetensors is not installed: its file was not made")
    dense = {key: value.contiguous().clone() for key, value in narrow_resnet(torch.bfloat16).items()}
    save_file(dense, str(folder / "narrow.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main()
