"""compare, bench and doctor: the table, the JSON, failures as rows, disagreement."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

from harness import CliTest, WIDEST

SHORT = ("--runs", 3, "--seconds", 0)
FAKE = ("--backends", "fake")
MODULES = Path(os.environ.get("FERRY_BACKEND_PATH", "/nowhere"))


def needs(*modules):
    absent = [name for name in modules if not (MODULES / f"libferry_{name}.so").exists()]
    return unittest.skipIf(absent, f"not built here: {absent}")


class Compare(CliTest):
    def test_table_and_json(self):
        name = self.narrow()
        result = self.ferry("compare", name, *FAKE, *SHORT, "--batch", "1,3", "--json", "r.json")
        self.assertIn("batch 1", result.out)
        self.assertIn("batch 3", result.out)
        self.fits(result.out)
        stored = json.loads((self.folder / "r.json").read_text())
        self.assertEqual([1, 3], [row["batch"] for row in stored["results"]])
        for row in stored["results"]:
            self.assertEqual(("fake", True, None), (row["backend"], row["ok"], row["failure"]))
            self.assertGreater(row["median_ms"], 0)
            self.assertGreaterEqual(row["runs"], 3)
        self.assertIn("compare narrow.safetensors", stored["command"])
        self.assertEqual((name, False), (stored["origin"], stored["random_weights"]))

    def test_json_on_stdout_is_only_json(self):
        result = self.ferry("compare", self.narrow(), *FAKE, *SHORT, "--batch", 1, "--json")
        self.assertEqual(1, len(result.json()["results"]))

    def test_quiet_says_nothing_on_stderr(self):
        self.assertEqual("", self.ferry("compare", self.narrow(), *FAKE, *SHORT, "--batch", 1, "--quiet").err)

    def test_every_failing_entry_becomes_a_row(self):
        name = self.narrow()
        for entry in ("build", "open", "io", "open_session", "submit", "wait"):
            result = self.ferry("compare", name, *FAKE, *SHORT, "--batch", 1, "--json", "r.json", "--force", code=1,
                                env={"FERRY_FAKE_FAIL": entry})
            row = json.loads((self.folder / "r.json").read_text())["results"][0]
            self.assertIn(f"fake failure in {entry}", row["failure"])
            self.assertIsNone(row["median_ms"])
            self.assertIn("not run", result.out)
            self.assertEqual([], self.left_behind(), entry)

    def test_nan_is_disagreement(self):
        name = self.narrow()
        self.ferry("compare", name, *FAKE, *SHORT, "--batch", 1)  # built while it was sound
        for mode in ("nan", "unwritten"):
            result = self.ferry("bench", name, "--backend", "fake", *SHORT, "--batch", 1, code=1,
                                env={"FERRY_FAKE_MODE": mode})
            self.assertRegex(result.out + result.err, "NaN|nan")

    @needs("openvino")
    def test_a_fast_wrong_engine_is_reported_as_wrong(self):
        result = self.ferry("compare", self.narrow(), "--backends", "openvino,fake", *SHORT, "--batch", "2", "--json",
                            "r.json", code=3)
        self.assertIn("WRONG", result.out)
        self.fits(result.out)
        rows = {row["backend"]: row for row in json.loads((self.folder / "r.json").read_text())["results"]}
        self.assertTrue(rows["openvino"]["ok"] and rows["openvino"]["baseline"])
        self.assertFalse(rows["fake"]["ok"])
        self.assertGreater(rows["fake"]["relative_error"], 0.01)

    @needs("openvino", "libtorch")
    def test_defaults_compare_with_the_reference(self):
        result = self.ferry("compare", self.narrow(), *SHORT, "--json", "r.json")
        stored = json.loads((self.folder / "r.json").read_text())
        cpu = [row for row in stored["results"] if row["device_kind"] == "cpu"]
        self.assertEqual({"libtorch"}, {row["backend"] for row in cpu if row["baseline"]})
        self.assertTrue(all(row["ok"] for row in stored["results"]))
        self.assertRegex(result.out, "100 inferences")

    @needs("openvino")
    def test_random_weights_are_labelled_in_every_output(self):
        result = self.ferry("compare", "resnet18", "--random-weights=3", "--backends", "openvino", "--batch", 1, "--runs",
                            1, "--seconds", 0, "--json", "r.json")
        self.assertIn("RANDOM WEIGHTS", result.out)
        stored = json.loads((self.folder / "r.json").read_text())
        self.assertEqual(("random weights, seed 3", True), (stored["origin"], stored["random_weights"]))

    def test_a_name_without_a_network_says_so(self):
        self.fails("compare", "resnet101", says="--random-weights")

    def test_bad_checkpoints(self):
        (self.folder / "bad.pth").write_bytes(b"PK\x03\x04" + b"\0" * 100)
        self.fails("compare", "bad.pth", *FAKE, says="bad.pth")
        self.fails("compare", self.narrow(**{"fc.weight": [10, 31]}), *FAKE, says="fc.weight")

    def test_a_second_run_builds_nothing(self):
        name = self.narrow()
        for _ in range(2):
            self.ferry("compare", name, *FAKE, *SHORT, "--batch", 1)
        self.ferry("compare", name, *FAKE, *SHORT, "--batch", 1, env={"FERRY_FAKE_FAIL": "build"})


class Peers(CliTest):
    def test_without_torch_the_note_gives_the_pip_command(self):
        plain = Path(sys.base_prefix) / "bin/python3"
        if subprocess.run([plain, "-c", "import torch"], capture_output=True, check=False).returncode == 0:
            self.skipTest("this Python has torch")
        result = self.ferry("compare", self.narrow(), *FAKE, *SHORT, "--batch", 1, "--peers", env={"FERRY_PYTHON": str(plain)})
        self.assertRegex(result.out, r"PyTorch in Python was left out(.|\n)*pip install torch")

    def test_a_python_that_is_none_is_a_note(self):
        for program in ("/bin/false", "/no/such/python"):
            result = self.ferry("compare", self.narrow(), *FAKE, *SHORT, "--batch", 1, "--peers",
                                env={"FERRY_PYTHON": program})
            self.assertIn("PyTorch in Python was left out", result.out)
            self.assertEqual([], self.left_behind())

    @needs("openvino")
    def test_eager_pytorch_agrees(self):
        program = os.environ.get("FERRY_TEST_TORCH_PYTHON", "python3")
        if subprocess.run([program, "-c", "import torch, numpy"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no Python with torch: set FERRY_TEST_TORCH_PYTHON")
        self.ferry("compare", self.narrow(), "--backends", "openvino", *SHORT, "--batch", "1,2", "--peers=eager", "--json",
                   "r.json", env={"FERRY_PYTHON": program})
        rows = [r for r in json.loads((self.folder / "r.json").read_text())["results"] if r["backend"] == "python"]
        self.assertEqual([True, True], [row["ok"] for row in rows])
        self.assertLess(max(row["relative_error"] for row in rows), 1e-4)
        self.assertEqual([], self.left_behind())


class Bench(CliTest):
    def test_table_and_json(self):
        name = self.narrow()
        self.ferry("export", name, "-o", "n.onnx")
        self.ferry("build", "n.onnx", "-o", "n.plan", "--backend", "fake")
        result = self.ferry("bench", "n.plan", name, "--backend", "fake", *SHORT, "--batch", "1,2", "--json", "b.json")
        self.fits(result.out)
        table = result.out.split("\n\n")[0]  # what stands before the notes
        self.assertEqual(1, table.count("median ms"))
        self.assertEqual(4, len([line for line in table.splitlines() if "Fake engine" in line and "fp32" in line]))
        rows = json.loads((self.folder / "b.json").read_text())["results"]
        self.assertEqual([1, 1, 2, 2], [row["batch"] for row in rows])
        self.assertNotIn("relative_error", rows[0])

    def test_a_batch_that_the_plan_does_not_take_is_a_failed_row(self):
        self.ferry("build", self.narrow(), "-o", "n.plan", "--batch", "1:2:2", "--backend", "fake")
        result = self.ferry("bench", "n.plan", *SHORT, "--batch", "2,3", code=1)
        self.assertRegex(result.out, r"failed")


class Doctor(CliTest):
    def test_text_and_json(self):
        facts = self.ferry("doctor", "--json", code=self.expected()).json()
        self.assertTrue(facts["machine"]["cpu"]["threads"] >= 1)
        text = self.ferry("doctor", code=self.expected()).out
        self.fits(text)
        for engine in facts["engines"]:
            self.assertIn(f"({engine['name']})", text)
            if not engine["usable"]:
                self.assertTrue(engine["reason"])
                self.assertTrue(engine["remedy"], engine)

    def expected(self):
        usable = [m for m in ("openvino", "libtorch") if (MODULES / f"libferry_{m}.so").exists()]
        return 0 if usable else 1

    def test_nothing_that_works(self):
        for name in ("openvino", "libtorch", "tensorrt", "tensorrt_rtx"):  # found first, and no library at all
            (self.folder / f"libferry_{name}.so").write_bytes(b"not a library")
        result = self.ferry("doctor", code=1, env={"FERRY_BACKEND_PATH": str(self.folder)})
        self.assertIn("Nothing here can run a network yet", result.out)
        self.assertIn("does not load", result.out)
        self.assertLessEqual(max(map(len, result.out.splitlines())), WIDEST)


if __name__ == "__main__":
    unittest.main()
