"""Forms of a graph (pixels in, top-k out) through export, inspect, infer, bench and compare."""

import json
import random
import struct
import unittest

from compare_test import SHORT, needs
from harness import CliTest, read_npy

FORM = ("--input", "uint8", "--top-k", 3)


def write_pixels(path, shape, seed=1):
    count = 1
    for dimension in shape:
        count *= dimension
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (%s,), }" % ", ".join(map(str, shape))
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     random.Random(seed).randbytes(count))


class Forms(CliTest):
    def test_export_says_what_goes_in_and_comes_out(self):
        self.ferry("export", self.narrow(), "-o", "m.onnx", *FORM, "--pad-channels", 4, "--conv-classifier")
        seen = self.ferry("inspect", "m.onnx", "--json").json()
        form = json.loads(seen["metadata"]["ferry.form"])
        self.assertEqual(("uint8", "nhwc", 3, 10, 4, "conv"),
                         tuple(form[k] for k in ("input", "layout", "top_k", "classes", "pad_channels", "classifier")))

    def test_wrong_usage(self):
        name = self.narrow()
        for flags, says in ((("--mean", "0.5,0.5,0.5"), "go with --input uint8"),
                            (("--input", "uint8", "--mean", "0.5"), "give both"),
                            (("--input", "uint8", "--mean", "x,1,2", "--std", "1,1,1"), "not a number"),
                            (("--top-k", "11"), "10 classes"),
                            (("--input", "bytes"), "--input")):
            self.fails("export", name, "-o", "m.onnx", *flags, code=2, says=says)
            self.assertFalse((self.folder / "m.onnx").exists())

    @needs("openvino")
    def test_infer_takes_pixels_and_shows_the_best(self):
        self.ferry("export", self.narrow(), "-o", "m.onnx", *FORM)
        write_pixels(self.folder / "x.npy", (2, 224, 224, 3))
        result = self.ferry("infer", "m.onnx", "--backend", "openvino", "--input", "x.npy", "--output", "y.npy", "--top",
                            3, "--json").json()
        self.assertEqual([3, 3], [len(image) for image in result["top"]])
        self.assertEqual((2, 3), read_npy(self.folder / "y.npy")[0])
        self.assertAlmostEqual(result["top"][1][0]["probability"], read_npy(self.folder / "y.npy")[1][3], places=5)
        self.assertTrue((self.folder / "y.classes.npy").exists())
        write_pixels(self.folder / "small.npy", (1, 32, 32, 3))
        self.fails("infer", "m.onnx", "--backend", "openvino", "--input", "small.npy", says="1x32x32x3")

    @needs("openvino", "libtorch")
    def test_compare_judges_them_against_the_reference(self):
        name = self.narrow()
        for backends in ("openvino,libtorch", "openvino"):
            self.ferry("compare", name, "--backends", backends, *SHORT, "--batch", "1,3", *FORM, "--json", "r.json")
            stored = json.loads((self.folder / "r.json").read_text())
            self.assertTrue(all(row["ok"] for row in stored["results"]))
            self.assertIn("random pixels", stored["inputs"])
            self.assertTrue(any("uint8 pixels" in note for note in stored["notes"]))
            for row in stored["results"]:
                self.assertLess(row["relative_error"], 1e-4)
        self.ferry("export", name, "-o", "m.onnx", *FORM)
        self.ferry("bench", name, "m.onnx", "--backend", "openvino", *SHORT, "--batch", 1, "--input", "uint8-nchw",
                   code=2)  # m.onnx has a form already
        result = self.ferry("bench", name, "m.onnx", "--backend", "openvino", *SHORT, "--batch", 1, "--json", "b.json")
        self.assertIn("narrow", result.out)
        models = [row["model"] for row in json.loads((self.folder / "b.json").read_text())["results"]]
        self.assertEqual(["narrow", "m"], models)


if __name__ == "__main__":
    unittest.main()
