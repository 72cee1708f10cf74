#!/usr/bin/env python3
"""PyTorch as its users run it, as a contestant of `ferry compare --peers`.

A worker that ferry starts and drives: one JSON object a line on stdin, one answer a line on stdout, in turns. It works
only between a request and its answer, so that engines measured in the same rounds have the machine to themselves.

    {"do": "hello"}                             versions, device, TF32 settings, and the modes that make sense there
    {"do": "load", "architecture": {...}, "checkpoint": "x.pth" | null, "safetensors": "w.safetensors" | null}
    {"do": "prepare", "mode": "eager" | "channels_last" | "compile" | "graph", "precision": "fp32" | "fp16",
     "input": "x.npy"}                          -> {"id": 0}: one contestant at the batch size of the input
    {"do": "run", "id": 0, "resident": false, "count": 20}  -> {"runs": [[wall_ms, compute_ms | null], ...]}
    {"do": "output", "id": 0, "path": "y.npy"}  the output of the last run, float32
    {"do": "drop", "id": 0}

Each answer has "ok"; where it is false, "cause" (and "hint") say why.
"""

import json
import os
import struct
import sys
import time


# How PyTorch's users run a network: mode, name for people, precision, whether it needs a GPU. Half precision on a CPU is
# emulated, and nobody runs it there.
MODES = (
    ("eager", "PyTorch eager", "fp32", False),
    ("compile", "PyTorch compile", "fp32", False),
    ("channels_last", "PyTorch channels-last", "fp16", True),
    ("graph", "PyTorch CUDA graph", "fp16", True),
    ("compile", "PyTorch compile", "fp16", True),
)


class PeerError(Exception):
    """What is wrong, and what the user can do."""

    def __init__(self, cause, hint=""):
        super().__init__(cause)
        self.hint = hint


def import_torch():
    try:
        import numpy
        import torch
    except ImportError as error:
        raise PeerError(f"{sys.executable} cannot import {error.name}: {error}",
                        f"{sys.executable} -m pip install torch numpy") from error
    return torch, numpy


def read_safetensors(torch, path):
    """The file's tensors by name (https://huggingface.co/docs/safetensors): ferry writes float32 only."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=begin)
        tensors[name] = values.reshape(entry["shape"]).clone()
    return tensors


def read_checkpoint(torch, path):
    """A state_dict as torch itself reads it: unwrapped and without the prefix of DataParallel."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if key in state and isinstance(state[key], dict):
            state = state[key]
    prefix = "module."
    if all(name.startswith(prefix) for name in state):
        state = {name[len(prefix):]: value for name, value in state.items()}
    return state


class Contestant:
    """One way to run the network at one batch size."""

    def __init__(self, peers, mode, precision, host_input):
        torch = peers.torch
        self.torch, self.device, self.mode = torch, peers.device, mode
        self.dtype = torch.float16 if precision == "fp16" else torch.float32
        channels_last = precision == "fp16" or mode == "channels_last"
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.host_input, self.host_output = host_input, None
        self.model = peers.network().to(self.device, self.dtype, memory_format=self.layout)
        if mode == "compile":
            self.model = torch.compile(self.model, dynamic=False)
        self.input = self.upload()
        if mode == "graph":
            self.capture()
        else:
            self.model(self.input)  # compiles, picks algorithms
            self.synchronize()

    def synchronize(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def upload(self):
        on_device = self.host_input.to(self.device)
        return on_device.to(dtype=self.dtype, memory_format=self.layout)

    def capture(self):
        if self.device.type != "cuda":
            raise PeerError("a CUDA graph needs a GPU")
        side = self.torch.cuda.Stream()
        side.wait_stream(self.torch.cuda.current_stream())
        with self.torch.cuda.stream(side):
            for _ in range(3):
                self.model(self.input)
        self.torch.cuda.current_stream().wait_stream(side)
        self.graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(self.graph):
            self.graph_output = self.model(self.input)

    def forward(self, x):
        if self.mode != "graph":
            return self.model(x)
        if x is not self.input:
            self.input.copy_(x)
        self.graph.replay()
        return self.graph_output

    def run(self):
        """Host array in to host array out."""
        self.synchronize()
        begin = time.perf_counter()
        output = self.forward(self.upload()).float().cpu()  # cpu() waits for the device
        wall = time.perf_counter() - begin
        self.host_output = output
        return wall * 1e3, (None if self.device.type == "cuda" else wall * 1e3)

    def run_resident(self):
        """The network alone, between events on the stream, on the input that is there already."""
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.synchronize()
        begin = time.perf_counter()
        start.record()
        self.forward(self.input)
        end.record()
        end.synchronize()
        return (time.perf_counter() - begin) * 1e3, start.elapsed_time(end)


class Peers:
    """Answers requests; keeps the weights and the contestants."""

    def __init__(self):
        self.torch, self.numpy = import_torch()
        torch = self.torch
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cuda.matmul.allow_tf32 = False  # FP32 means FP32, as in every other contestant
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        self.architecture = self.weights = None
        self.contestants = {}
        self.next_id = 0

    def hello(self, request):
        torch = self.torch
        if request.get("threads"):
            torch.set_num_threads(request["threads"])
        gpu = self.device.type == "cuda"
        return {
            "python": sys.version.split()[0], "executable": sys.executable, "torch": torch.__version__,
            "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version() if gpu else None,
            "device": "gpu" if gpu else "cpu", "device_name": torch.cuda.get_device_name() if gpu else "",
            "threads": torch.get_num_threads(), "tf32": False, "cudnn_benchmark": gpu,
            "settings": "inference mode, " + ("TF32 off, cuDNN benchmark on" if gpu else
                                              f"{torch.get_num_threads()} threads"),
            "modes": [{"mode": mode, "display_name": name, "precision": precision}
                      for mode, name, precision, needs_gpu in MODES if gpu or not needs_gpu],
            "all_modes": sorted({mode for mode, *_ in MODES}),
        }

    def load(self, request):
        self.architecture = request["architecture"]
        if request.get("checkpoint"):
            self.weights = read_checkpoint(self.torch, request["checkpoint"])
        else:
            self.weights = read_safetensors(self.torch, request["safetensors"])
        self.network()
        return {}

    def network(self):
        from ferry_resnet import ResNet
        model = ResNet(self.architecture)
        missing, unexpected = model.load_state_dict(self.weights, strict=False)
        missing = [name for name in missing if not name.endswith("num_batches_tracked")]
        if missing or unexpected:
            raise PeerError(f"the weights do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")
        return model.eval().requires_grad_(False)

    def prepare(self, request):
        host_input = self.torch.from_numpy(self.numpy.load(request["input"]))
        contestant = Contestant(self, request["mode"], request["precision"], host_input)
        self.contestants[self.next_id] = contestant
        self.next_id += 1
        return {"id": self.next_id - 1}

    def run(self, request):
        contestant = self.contestants[request["id"]]
        run = contestant.run_resident if request["resident"] else contestant.run
        return {"runs": [run() for _ in range(request["count"])]}

    def output(self, request):
        self.numpy.save(request["path"], self.contestants[request["id"]].host_output.numpy())
        return {}

    def drop(self, request):
        del self.contestants[request["id"]]
        if self.device.type == "cuda":
            self.torch.cuda.empty_cache()
        return {}

    def answer(self, request):
        if request["do"] not in ("hello", "load", "prepare", "run", "output", "drop"):
            raise PeerError(f"unknown request '{request['do']}'")
        with self.torch.inference_mode():
            return getattr(self, request["do"])(request)


def guarded(work):
    """The answer to one request: what `work` returns, or why it failed."""
    try:
        return {"ok": True, **work()}
    except PeerError as error:
        return {"ok": False, "cause": str(error), "hint": error.hint}
    except Exception as error:  # whatever torch raises is an answer, not the end of the worker
        lines = str(error).strip().splitlines() or [""]
        return {"ok": False, "cause": f"{type(error).__name__}: {lines[0]}", "hint": ""}


def main():
    # Libraries print to stdout now and then; answers go where only they go.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    peers = None

    def handle(request):
        nonlocal peers
        if peers is None:
            peers = Peers()
        return peers.answer(request)

    for line in sys.stdin:
        answer = guarded(lambda: handle(json.loads(line)))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
