#!/usr/bin/env python3
"""Makes tests/golden/data/*.golden: small ResNets by torchvision itself, with what they answer after every stage.

    python3 python/make_golden.py tests/golden/data

Needs torch and torchvision; the committed files come from Debian 12's python3-torch and python3-torchvision. Format:
docs/onnx.md, "Golden files". The C++ side is tests/golden/golden_file.h.
"""

import json
import struct
import sys
from pathlib import Path

import torch
import torchvision
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

MAGIC = b"FERRYGLD"
VERSION = 1

# name: block, depths, planes, groups, width_per_group
NETWORKS = {
    "basic": (BasicBlock, [2, 1, 1, 1], [8, 8, 12, 16], 1, 64),
    "bottleneck": (Bottleneck, [1, 2, 1, 1], [4, 4, 8, 12], 1, 64),
    "grouped": (Bottleneck, [1, 2, 1, 1], [4, 4, 8, 8], 4, 32),
    "wide": (Bottleneck, [1, 1, 2, 1], [4, 4, 6, 8], 1, 128),
}


class NarrowResNet(ResNet):
    """torchvision's network with fewer channels: its own constructor knows 64, 128, 256 and 512 only."""

    def __init__(self, block, depths, planes, groups, width_per_group, stem=8, classes=10):
        super().__init__(block, [1, 1, 1, 1], groups=1 if block is BasicBlock else groups, width_per_group=width_per_group)
        self.inplanes, self.dilation = stem, 1
        self.conv1 = torch.nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(stem)
        for i in range(4):
            layer = self._make_layer(block, planes[i], depths[i], stride=1 if i == 0 else 2)
            setattr(self, f"layer{i + 1}", layer)
        self.fc = torch.nn.Linear(planes[3] * block.expansion, classes)

    def stages(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        result = {"stem": x}
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
            result[f"layer{i}"] = x
        result["logits"] = self.fc(torch.flatten(self.avgpool(x), 1))
        return result


def randomise(model):
    """Batch norms that change what goes through them, and keep its size."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)


def write(path, header, tensors):
    entries, blobs, offset = [], [], 0
    for name, tensor in tensors.items():
        blob = tensor.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes()
        entries.append({"name": name, "shape": list(tensor.shape), "offset": offset})
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps({**header, "tensors": entries}, separators=(",", ":")).encode()
    path.write_bytes(MAGIC + struct.pack("<II", VERSION, len(text)) + text + b"".join(blobs))


def make(name, folder, seed):
    block, depths, planes, groups, width = NETWORKS[name]
    torch.manual_seed(seed)
    model = NarrowResNet(block, depths, planes, groups, width).eval()
    randomise(model)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        outputs = model.stages(image)
        assert torch.equal(outputs["logits"], model(image)), "the stages are not torchvision's forward pass"
    weights = {f"weights.{k}": v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    header = {
        "network": name,
        "seed": seed,
        "made_by": f"torch {torch.__version__}, torchvision {torchvision.__version__}",
        "command": "python3 python/make_golden.py tests/golden/data",
        "block": "basic" if block is BasicBlock else "bottleneck",
        "depths": depths,
        "planes": planes,
        "widths": [p if block is BasicBlock else int(p * (width / 64.0)) * groups for p in planes],
        "groups": groups,
        "stem_channels": 8,
        "classes": 10,
    }
    tensors = {**weights, "input": image, **{f"output.{k}": v for k, v in outputs.items()}}
    path = folder / f"{name}.golden"
    write(path, header, tensors)
    print(f"{path}: {path.stat().st_size} bytes")


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/data")
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(NETWORKS, start=11):
        make(name, folder, seed)


if __name__ == "__main__":
    main()
