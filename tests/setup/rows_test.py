"""bench/gpu/rows.py joins what a GPU run left into rows of docs/results.schema.json, and says which goals are met."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((SOURCE / "docs/results.schema.json").read_text())
MACHINE = {"gpus": [{"kind": "gpu", "name": "H", "index": 0}], "backends": []}


def document(rows):
    return {"format": "ferry results", "version": 1, "network": "resnet101", "origin": "r.pth", "random_weights": False,
            "command": "ferry bench", "started_at": "2026-01-01T00:00:00Z", "machine": MACHINE, "results": rows, "notes": []}


def row(batch, ms, host, **more):
    return {"engine": "TensorRT", "backend": "tensorrt", "precision": "fp16", "device": "H", "device_kind": "gpu", "batch": batch,
            "mode": "latency", "timed": "device compute", "runs": 9, "median_ms": ms, "p90_ms": ms, "p99_ms": ms, "mean_ms": ms,
            "images_per_second": 1000 * batch / ms, "host_median_ms": host, "warnings": [], "failure": None, **more}


def plain(way, batch, ms):
    return {"way": way, "batch": batch, "median_ms": ms, "p99_ms": ms, "runs": 7}


class Rows(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)

    def put(self, name, value):
        (self.out / name).write_text(value if isinstance(value, str) else json.dumps(value))

    def run_rows(self, code=0):
        done = subprocess.run([sys.executable, "-B", SOURCE / "bench/gpu/rows.py", self.out], capture_output=True, text=True,
                              check=False)
        self.assertEqual(code, done.returncode, done.stderr)
        return done.stdout + done.stderr

    def test_a_whole_run(self):
        for n, drift in ((1, 0.0), (2, 0.01), (3, 0.5)):
            self.put(f"latency.{n}.json", document([row(1, 0.55 + drift, 0.57 + drift), row(256, 10.0 + drift, 16.0)]))
            self.put(f"no-quick.{n}.json", document([row(1, 0.55, 0.63)]))
            self.put(f"plain.{n}.json", [plain("plain", 1, 0.8), plain("device", 1, 0.55), plain("plain", 256, 27.0),
                                         plain("device", 256, 10.0)])
        self.put("load.json", document([row(256, 22.0, 22.0, mode="throughput", timed="request under load", sessions=2,
                                            share_of_device=0.95)]))
        self.put("peers.json", document([
            row(1, 0.56, 0.6, engine="TensorRT (serve.plan)", ok=True, relative_error=1e-3, top1_agreement=1.0),
            row(1, 5.6, 6.0, engine="PyTorch eager", backend="python", precision="fp32"),
            row(1, 1.12, 1.3, engine="PyTorch CUDA graph", backend="python"),
            row(256, 1.0, 1.0, engine="PyTorch eager", backend="python", failure="out of memory")]))
        self.put("set-bench.json", document([row(1, 0.25, 0.32, engine="own (plan set)", backend="cuda")]))
        self.put("set.json", {"set": {"built_at": "2026-01-02T00:00:00Z", "left_out": ["X: no"], "measured": [
            {"batch": 1, "backend": "cuda", "engine": "own", "median_ms": 0.25, "p99_ms": 0.26, "timed": "device compute",
             "chosen": True}]}})
        self.put("open.txt", "first result 400 ms after ...\nfirst result 300 ms after ...\nfirst result 310 ms after ...\n")
        text = self.run_rows()
        for line in (r"plan set, batch +1: own \(plan set\): device +0\.2500 ms, host +0\.3200 ms, 0\.400 of the plain loop",
                     r"batch 1, device +0\.560 ms +goal <= 0\.6: met", r"of the plain loop +0\.725 +goal <= 0\.75: met",
                     r"batch 8, device +not measured", r"at 256 with transfers, of device only +0\.950 +goal >= 0\.97: MISSED",
                     r"eager FP32, batch 1 +10\.00 x +goal >= 8\.5: met", r"graph, batch 1 +2\.00 x +goal >= 3: MISSED",
                     r"open to first result, warm file cache +0\.305 s"):
            self.assertRegex(text, line)
        merged = json.loads((self.out / "rows.json").read_text())
        self.assertEqual(["latency", "no-quick", "load", "peers", "set-bench", "set"], [run["name"] for run in merged["runs"]])
        required = SCHEMA["definitions"]["result"]["required"]
        for one in merged["results"]:
            self.assertEqual([], [key for key in required if key not in one], one)
            self.assertTrue(set(one) <= set(SCHEMA["definitions"]["result"]["properties"]), one)
        first = merged["results"][0]
        self.assertEqual(("TensorRT", 1, 0.56, 1e-3), tuple(first[k] for k in ("engine", "batch", "median_ms", "relative_error")))
        self.assertEqual({"latency", "throughput"}, {one["mode"] for one in merged["results"]})
        self.assertEqual(("set", "own", 4000.0), tuple(merged["results"][-1][k] for k in ("run", "engine", "images_per_second")))
        self.assertNotIn("out of memory", json.dumps(merged["results"]))

    def test_nothing_measured_is_said(self):
        self.assertIn("no results yet", self.run_rows(code=1))

    def test_another_machine_is_refused(self):
        self.put("load.json", document([row(1, 1.0, 1.0, mode="throughput", share_of_device=1.0)]))
        other = document([row(1, 1.0, 1.0)])
        other["machine"] = {"gpus": [{"kind": "gpu", "name": "another", "index": 0}]}
        self.put("peers.json", other)
        self.assertIn("another machine", self.run_rows(code=1))


if __name__ == "__main__":
    unittest.main()
