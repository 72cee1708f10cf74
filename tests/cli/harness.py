"""What the tests of the command share: running it, and files to run it on. Standard library only."""

import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

FERRY = os.environ.get("FERRY", "ferry")
SOURCE = Path(os.environ.get("FERRY_SOURCE", Path(__file__).resolve().parents[2]))
ESCAPE = re.compile(r"\x1b")
WIDEST = 100  # columns of any table

NARROW = {"block": "bottleneck", "depths": [1, 1, 1, 1], "planes": [8, 8, 8, 8], "stem_channels": 8,
          "input_channels": 3, "num_classes": 10}


def conv_and_norm(tensors, conv, norm, outputs, inputs, size):
    tensors[conv + ".weight"] = [outputs, inputs, size, size]
    for part in ("weight", "bias", "running_mean", "running_var"):
        tensors[f"{norm}.{part}"] = [outputs]


def narrow_tensors():
    """Names and shapes of a small bottleneck ResNet under torchvision's names."""
    tensors = {}
    conv_and_norm(tensors, "conv1", "bn1", 8, 3, 7)
    channels = 8
    for stage in range(1, 5):
        block = f"layer{stage}.0."
        conv_and_norm(tensors, block + "conv1", block + "bn1", 8, channels, 1)
        conv_and_norm(tensors, block + "conv2", block + "bn2", 8, 8, 3)
        conv_and_norm(tensors, block + "conv3", block + "bn3", 32, 8, 1)
        conv_and_norm(tensors, block + "downsample.0", block + "downsample.1", 32, channels, 1)
        channels = 32
    tensors["fc.weight"], tensors["fc.bias"] = [10, 32], [10]
    return tensors


def write_safetensors(path, tensors, seed=1):
    generator = random.Random(seed)
    header, data = {}, b""
    for name, shape in tensors.items():
        count = 1
        for dimension in shape:
            count *= dimension
        low, high = (0.5, 1.5) if name.endswith("running_var") else (-0.3, 0.3)
        values = struct.pack(f"<{count}f", *(generator.uniform(low, high) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_npy(path, shape, value=None, seed=1):
    generator = random.Random(seed)
    count = 1
    for dimension in shape:
        count *= dimension
    values = [value] * count if value is not None else [generator.uniform(-1, 1) for _ in range(count)]
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }" % ", ".join(map(str, shape))
    header += " " * (-(len(header) + 11) % 64) + "\n"
    Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                           struct.pack(f"<{count}f", *values))


def read_npy(path):
    data = Path(path).read_bytes()
    (size,) = struct.unpack("<H", data[8:10])
    shape = tuple(int(n) for n in re.search(r"\(([^)]*)\)", data[10:10 + size].decode())[1].split(",") if n.strip())
    return shape, struct.unpack(f"<{(len(data) - 10 - size) // 4}f", data[10 + size:])


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def json(self):
        return json.loads(self.out)


class CliTest(unittest.TestCase):
    """A folder and a cache of its own for each test; nothing of the user's is read or written."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ferry-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("FERRY_FAKE", "FERRY_TWIN"))}
        self.environment.update(HOME=str(self.folder / "home"), XDG_CACHE_HOME=str(self.folder / "cache"),
                                TMPDIR=str(self.folder / "tmp"), LC_ALL="C.UTF-8", TERM="xterm",
                                FERRY_WEIGHTS_URL="http://127.0.0.1:9/")
        for name in ("home", "tmp"):
            (self.folder / name).mkdir()

    def ferry(self, *arguments, code=0, env=None, stdout=subprocess.PIPE):
        """Runs the command; its exit code must be `code` (None: any)."""
        done = subprocess.run([FERRY, *map(str, arguments)], stdout=stdout, stderr=subprocess.PIPE, text=True,
                              errors="replace", cwd=self.folder, env={**self.environment, **(env or {})}, timeout=200)
        result = Result(done)
        if code is not None:
            self.assertEqual(code, result.code, f"ferry {arguments}\n{result.out}\n{result.err}")
        for text in (result.out or "", result.err):
            self.assertNotRegex(text, ESCAPE, "escape codes without a terminal")
        return result

    def fails(self, *arguments, code=1, says=".", env=None):
        """Runs a command that must fail with one message and without a result."""
        result = self.ferry(*arguments, code=code, env=env)
        messages = [line for line in result.err.splitlines() if line.startswith("ferry: ")]
        self.assertEqual(1, len(messages), result.err)
        self.assertRegex(result.err, says)
        self.assertNotIn("internal error", result.err)
        return result

    def narrow(self, name="narrow.safetensors", seed=1, **changes):
        """A checkpoint of a small network; `changes` replace shapes."""
        tensors = narrow_tensors()
        tensors.update(changes)
        write_safetensors(self.folder / name, tensors, seed)
        return name

    def fits(self, text):
        for line in text.splitlines():
            self.assertLessEqual(len(line), WIDEST, line)

    def left_behind(self):
        """Everything in the folder that looks temporary."""
        return [str(p.relative_to(self.folder)) for p in self.folder.rglob("*")
                if ".tmp." in p.name or p.name.startswith("ferry-")]

    def start(self, *arguments, env=None):
        return subprocess.Popen([FERRY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                cwd=self.folder, env={**self.environment, **(env or {})},
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))

    @staticmethod
    def wait_for(condition, seconds=60):
        """True as soon as `condition` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.02)
        return False
