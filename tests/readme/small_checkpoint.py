"""A small trained-looking ResNet as torch.save would write it, made without PyTorch: for tests that run commands on a .pth."""

import io
import pickle
import random
import struct
import sys
import types
import zipfile
from collections import OrderedDict


def tensor_shapes(width=8, classes=10):
    """Names and shapes of a bottleneck ResNet with one block a stage, under torchvision's names."""
    shapes = OrderedDict()

    def conv_and_norm(conv, norm, outputs, inputs, size):
        shapes[conv + ".weight"] = (outputs, inputs, size, size)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (outputs,)

    conv_and_norm("conv1", "bn1", width, 3, 7)
    channels = width
    for stage in range(1, 5):
        block = f"layer{stage}.0."
        conv_and_norm(block + "conv1", block + "bn1", width, channels, 1)
        conv_and_norm(block + "conv2", block + "bn2", width, width, 3)
        conv_and_norm(block + "conv3", block + "bn3", 4 * width, width, 1)
        conv_and_norm(block + "downsample.0", block + "downsample.1", 4 * width, channels, 1)
        channels = 4 * width
    shapes["fc.weight"], shapes["fc.bias"] = (classes, channels), (classes,)
    return shapes


def stand_ins():
    """Modules that give the pickle the global names that torch's own files have."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def _rebuild_tensor_v2(*_):
        raise NotImplementedError

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    return {"torch": torch, "torch._utils": utils}


class SavedTensor:
    def __init__(self, key, shape):
        self.key, self.shape = key, shape

    def __reduce__(self):
        strides, step = [], 1
        for size in reversed(self.shape):
            strides.insert(0, step)
            step *= size
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (Storage(self.key, step), 0, self.shape, tuple(strides), False, OrderedDict())


class Storage:
    def __init__(self, key, count):
        self.key, self.count = key, count


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", sys.modules["torch"].FloatStorage, obj.key, "cpu", obj.count)
        return None


def write(path, seed=1):
    generator = random.Random(seed)
    saved, storages = OrderedDict(), {}
    for index, (name, shape) in enumerate(tensor_shapes().items()):
        count = 1
        for size in shape:
            count *= size
        low, high = (0.5, 1.5) if name.endswith("running_var") else (-0.3, 0.3)
        storages[str(index)] = struct.pack(f"<{count}f", *(generator.uniform(low, high) for _ in range(count)))
        saved[name] = SavedTensor(str(index), shape)
    stream = io.BytesIO()
    before = {name: sys.modules.get(name) for name in stand_ins()}
    sys.modules.update(stand_ins())
    try:
        Pickler(stream, protocol=2).dump(saved)
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})
    with zipfile.ZipFile(path, "w") as archive:  # stored, as torch does
        archive.writestr("archive/data.pkl", stream.getvalue())
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
