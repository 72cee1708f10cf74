#!/usr/bin/env python3
"""Makes tests/golden/foreign/*.onnx: one small ResNet as other people's exporters write it.

    python3 python/make_foreign.py tests/golden/foreign

All files are the same network, so they share input.npy and expected.npy. With torch 1.13 the TorchScript exporter's
files are made, with torch 2.5 or newer those of the dynamo exporter; the committed ones come from Debian's torch 1.13.1
and from torch 2.15. The first run makes weights.npz, input.npy and expected.npy; later runs read the weights.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torchvision.models.resnet import Bottleneck


def block(channels, planes, stride):
    down = None
    if stride != 1 or channels != planes * 4:
        down = torch.nn.Sequential(
            torch.nn.Conv2d(channels, planes * 4, 1, stride, bias=False), torch.nn.BatchNorm2d(planes * 4)
        )
    return Bottleneck(channels, planes, stride, down)


class Net(torch.nn.Module):
    """torchvision's blocks, and one of the ways in which people flatten."""

    def __init__(self, flatten):
        super().__init__()
        self.flatten = flatten
        self.conv1 = torch.nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(8)
        self.maxpool = torch.nn.MaxPool2d(3, 2, 1)
        self.layer1 = torch.nn.Sequential(block(8, 4, 1), block(16, 4, 1))
        self.layer2 = torch.nn.Sequential(block(16, 8, 2))
        self.avgpool = torch.nn.AdaptiveAvgPool2d((1, 1))
        self.fc = torch.nn.Linear(32, 10)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        if self.flatten == "mean":
            return self.fc(x.mean((2, 3)))
        x = self.avgpool(x)
        if self.flatten == "view":
            return self.fc(x.view(x.size(0), -1))
        if self.flatten == "squeeze":
            return self.fc(x.squeeze(-1).squeeze(-1))
        return self.fc(torch.flatten(x, 1))


def first_run(folder):
    torch.manual_seed(5)
    model = Net("flatten").eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    image = torch.randn(2, 3, 32, 32)
    np.savez(folder / "weights.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
    np.save(folder / "input.npy", image.numpy())
    np.save(folder / "expected.npy", model(image).detach().numpy())


def exports():
    """File name, way to flatten, arguments of torch.onnx.export."""
    script = {} if torch.__version__.startswith("1.") else {"dynamo": False}
    plain = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    if script == {}:
        return [
            ("script11_view_unfolded", "view", {"opset_version": 11, "keep_initializers_as_inputs": True, **plain}),
            ("script13_squeeze_batch_norm", "squeeze", {"opset_version": 13, **plain}),
            ("script17_view_dynamic", "view", {"opset_version": 17, "input_names": ["x"], "dynamic_axes": {"x": [0]}}),
            ("script17_mean", "mean", {"opset_version": 17}),
        ]
    return [
        ("dynamo18_flatten", "flatten", {"dynamo": True, "opset_version": 18, "external_data": False}),
        ("dynamo20_external", "view", {"dynamo": True, "external_data": True}),
        ("dynamo20_unoptimised", "mean", {"dynamo": True, "optimize": False, "external_data": False}),
        (
            "dynamo23_dynamic",
            "squeeze",
            {
                "dynamo": True,
                "opset_version": 23,
                "external_data": False,
                "dynamic_shapes": ({0: torch.export.Dim("batch")},),
            },
        ),
    ]


def strip_traces(path):
    """Removes the stack traces, which hold paths of the machine that made the file."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        kept = [p for p in node.metadata_props if "stack_trace" not in p.key]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def main():
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/foreign")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "weights.npz").exists():
        first_run(folder)
    weights = {k: torch.from_numpy(v) for k, v in np.load(folder / "weights.npz").items()}
    image = torch.from_numpy(np.load(folder / "input.npy"))
    for name, flatten, arguments in exports():
        model = Net(flatten).eval()
        model.load_state_dict(weights)
        example = image if "dynamic" in name else image[:1]
        torch.onnx.export(model, (example,), str(folder / f"{name}.onnx"), **arguments)
        if name.startswith("dynamo"):
            strip_traces(str(folder / f"{name}.onnx"))


if __name__ == "__main__":
    main()
