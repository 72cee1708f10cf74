"""quantize: the file it makes, a second run without pictures, the gate, what is refused."""

import json
import shutil
import struct
import unittest
from pathlib import Path

from compare_test import needs
from harness import SOURCE, CliTest, narrow_tensors, read_npy, write_npy

PICTURES = SOURCE / "tests/unit/image/data"
LAYERS = 1 + 4 * 4 + 1  # of the narrow network


def importable(name):
    try:
        __import__(name)
        return True
    except ImportError:
        return False


@needs("openvino")
class Quantize(CliTest):
    def setUp(self):
        super().setUp()
        (self.folder / "images").mkdir()
        for name in ("baseline.jpg", "cmyk.jpg", "alpha.png", "lossless.webp"):
            if (PICTURES / name).exists():
                shutil.copyfile(PICTURES / name, self.folder / "images" / name)

    def quantize(self, name, *more, code=0):
        return self.ferry("quantize", name, "--calibration", "images", "-o", "int8.onnx", *more, code=code)

    def error(self, reference, model="int8.onnx"):
        rows = self.ferry("eval", model, "--reference", reference, "--images", "images", "--json").json()["results"]
        return rows[1]["relative_error"]

    def test_every_layer_is_quantised_and_the_answers_stay(self):
        name = self.narrow()
        result = self.quantize(name, "--json", "r.json")
        self.fits(result.out)
        report = json.loads((self.folder / "r.json").read_text())
        self.assertEqual((LAYERS, []), (len(report["layers"]), report["kept"]))
        self.assertEqual(4, sum(layer["residual"] for layer in report["layers"]))
        self.assertLess(self.error(name), 0.1)
        self.assertEqual("int8", self.ferry("inspect", "int8.onnx", "--json").json()["precision"])

    def test_a_second_run_needs_no_pictures_and_gives_the_same(self):
        name = self.narrow()
        self.quantize(name)
        first = (self.folder / "int8.onnx").read_bytes()
        shutil.rmtree(self.folder / "images")
        again = ("quantize", name, "--calibration", "int8.calibration.json", "-o", "again.onnx")
        self.ferry(*again)
        self.assertEqual(first, (self.folder / "again.onnx").read_bytes())
        self.ferry(*again, "--method", "max")
        self.assertNotEqual(first, (self.folder / "again.onnx").read_bytes())
        other = self.narrow("other.safetensors", seed=2)
        result = self.ferry("quantize", other, "--calibration", "int8.calibration.json", "-o", "x.onnx", code=1)
        self.assertIn("made for another model", result.err)
        self.assertFalse((self.folder / "x.onnx").exists())

    def rough(self):
        """A network in which one channel of each inner tensor is so large that one scale leaves the others nothing."""
        tensors = narrow_tensors()
        name = self.narrow("rough.safetensors", seed=12)
        data = bytearray((self.folder / name).read_bytes())
        header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
        start = 8 + struct.unpack("<Q", data[:8])[0]
        for stage in range(1, 5):
            for c in range(32):  # the branch counts
                self.scale(data, start, header[f"layer{stage}.0.bn3.weight"], c, 30)
            for norm, conv in (("bn1", "conv2"), ("bn2", "conv3")):
                for part in ("weight", "bias"):  # channel 3 leaves batch norm 1e5 times as large ...
                    self.scale(data, start, header[f"layer{stage}.0.{norm}.{part}"], 3, 1e5)
                shape = tensors[f"layer{stage}.0.{conv}.weight"]
                taps = shape[2] * shape[3]
                for o in range(shape[0]):  # ... and is taken down again by whoever reads it
                    for t in range(taps):
                        self.scale(data, start, header[f"layer{stage}.0.{conv}.weight"], (o * shape[1] + 3) * taps + t,
                                   1e-5)
        (self.folder / name).write_bytes(data)
        # Random networks answer every picture with the same class by far; with most of its lead taken, errors show.
        write_npy(self.folder / "x.npy", (1, 3, 224, 224))
        self.ferry("infer", name, "--input", "x.npy", "--output", "y.npy")
        at = start + header["fc.bias"]["data_offsets"][0]
        biases = struct.unpack("<10f", data[at:at + 40])
        data[at:at + 40] = struct.pack("<10f", *(b - 0.9 * y for b, y in zip(biases, read_npy(self.folder / "y.npy")[1])))
        (self.folder / name).write_bytes(data)
        return name

    @staticmethod
    def scale(data, start, entry, element, factor):
        at = start + entry["data_offsets"][0] + 4 * element
        data[at:at + 4] = struct.pack("<f", struct.unpack("<f", data[at:at + 4])[0] * factor)

    def test_equalisation_and_the_gate_repair_what_plain_ranges_break(self):
        name = self.rough()
        plain = ("--method", "max", "--no-equalise", "--no-bias-correction")
        self.quantize(name, *plain)
        broken = self.error(name)
        self.quantize(name)
        equalised = self.error(name)
        self.assertGreater(broken, 3 * equalised)
        result = self.quantize(name, *plain, "--max-drop", "0", "--json", "r.json")
        gate = json.loads((self.folder / "r.json").read_text())["gate"]
        self.assertIn("back in", result.out)
        self.assertTrue(gate["passed"] and gate["reverted"])
        self.assertEqual("agreement", gate["measure"])
        self.assertGreater(gate["drop_before"], 0)
        self.assertEqual(0, gate["drop_after"])
        self.assertLess(self.error(name), broken)
        costs = {cost["node"]: cost["milliseconds"] for cost in gate["costs"]}
        self.assertEqual(LAYERS, len(costs))
        self.assertEqual(set(gate["reverted"]), {node for node, cost in costs.items() if cost is not None})

    def test_pixels_in_give_the_same_answers(self):
        name = self.narrow()
        self.quantize(name)
        self.ferry("quantize", name, "--calibration", "int8.calibration.json", "-o", "plain.onnx")
        self.ferry("quantize", name, "--calibration", "int8.calibration.json", "-o", "pixels.onnx", "--input", "uint8")
        form = self.ferry("inspect", "pixels.onnx", "--json").json()
        self.assertIn("uint8", json.dumps(form))
        errors = [self.error(name, model) for model in ("plain.onnx", "pixels.onnx")]
        self.assertLess(errors[1], 0.1)
        self.assertAlmostEqual(errors[0], errors[1], delta=0.01)
        again = self.ferry("quantize", "pixels.onnx", "--calibration", "images", "-o", "again.onnx", code=1)
        self.assertIn("has a form already", again.err)

    def test_activations_of_the_full_range_give_the_same_answers(self):
        name = self.narrow()
        for stage in (1, 2, 3):  # as trained networks are: most of a block's outputs are zero, few are large
            self.set_values(name, f"layer{stage}.0.bn3.bias", -0.3, range(32))
        self.set_values(name, "bn1.bias", -0.6, range(8))
        self.quantize(name)
        counts = {}
        for which in ("off", "blocks", "all"):
            self.ferry("quantize", name, "--calibration", "int8.calibration.json", "-o", f"{which}.onnx", "--full-range", which,
                       "--json", "r.json")
            self.assertLess(self.error(name, f"{which}.onnx"), 0.02)
            layers = json.loads((self.folder / "r.json").read_text())["layers"]
            counts[which] = [layer["node"] for layer in layers if layer["full_range"]]
        blocks = [f"layer{stage}.0.{layer}" for stage in (2, 3, 4) for layer in ("conv1", "downsample.0")]
        self.assertEqual({"off": [], "blocks": blocks, "all": ["layer1.0.conv1", "layer1.0.downsample.0"] + blocks}, counts)
        self.assertIn("off,blocks", self.quantize(name, "--full-range", "most", code=2).err)

    def test_what_is_kept_is_fp16_and_named(self):
        result = self.quantize(self.narrow(), "--keep", "conv1,fc", "--json", "r.json")
        report = json.loads((self.folder / "r.json").read_text())
        self.assertEqual(["FP16, as asked"] * 2, [kept["reason"] for kept in report["kept"]])
        self.assertEqual(LAYERS - 2, len(report["layers"]))
        self.assertIn("fc (Gemm)", result.out)

    @unittest.skipUnless(importable("onnxruntime") and importable("numpy"), "this Python has no onnxruntime")
    def test_round_trip_through_onnxruntime(self):
        import numpy
        import onnxruntime
        self.quantize(self.narrow(), "--keep", "layer1.0.conv2")
        write_npy(self.folder / "x.npy", (2, 3, 224, 224))
        self.ferry("infer", "int8.onnx", "--input", "x.npy", "--output", "y.npy")
        shape, ours = read_npy(self.folder / "y.npy")
        session = onnxruntime.InferenceSession(str(self.folder / "int8.onnx"), providers=["CPUExecutionProvider"])
        theirs = session.run(None, {"input": numpy.load(self.folder / "x.npy")})[0]
        ours = numpy.array(ours, dtype="float32").reshape(shape)
        # Also without VNNI, where OpenVINO by itself would overflow (backends/openvino/signs.h); seen: 1e-7.
        self.assertLess(numpy.linalg.norm(ours - theirs) / numpy.linalg.norm(theirs), 0.02)

    def test_compare_puts_speed_and_accuracy_into_one_table(self):
        (self.folder / "images" / "labels.csv").write_text("baseline.jpg,1\ncmyk.jpg,2\nalpha.png,3\n")
        compare = ("compare", self.narrow(), "--backends", "openvino", "--runs", 3, "--seconds", 0, "--batch", 2,
                   "--precision", "fp32,int8")
        self.assertIn("needs pictures", self.ferry(*compare, code=2).err)
        result = self.ferry(*compare, "--calibration", "images", "--images", "images", "--json", "r.json")
        self.fits(result.out)
        self.assertIn("calibrating", result.err)
        self.assertRegex(result.out, r"agree +top-1\n")
        rows = {row["precision"]: row for row in json.loads((self.folder / "r.json").read_text())["results"]}
        self.assertTrue(rows["int8"]["ok"] and rows["fp32"]["baseline"])
        self.assertEqual([3, 3], [row["accuracy"]["images"] for row in rows.values()])
        self.assertIsNone(rows["fp32"]["accuracy"]["agreement"])
        self.assertLess(rows["int8"]["accuracy"]["relative_error"], 0.1)
        again = self.ferry(*compare, "--calibration", "images")
        self.assertNotIn("calibrating", again.err)
        self.assertIn("pictures 3x224x224", again.out)
        self.ferry(*compare[:-1], "fp32", "--calibration", "images", code=2)

    def test_a_broken_picture_is_left_out(self):
        (self.folder / "images" / "broken.jpg").write_bytes(b"nothing")
        result = self.quantize(self.narrow(), code=1)
        self.assertIn("broken.jpg", result.err)
        self.assertTrue((self.folder / "int8.onnx").exists())

    def set_values(self, name, tensor, value, elements):
        data = bytearray((self.folder / name).read_bytes())
        start = 8 + struct.unpack("<Q", data[:8])[0]
        at = start + json.loads(data[8:start])[tensor]["data_offsets"][0]
        for element in elements:
            data[at + 4 * element:at + 4 * element + 4] = struct.pack("<f", value)
        (self.folder / name).write_bytes(data)

    def test_a_folder_of_broken_pictures_ends_in_one_message(self):
        shutil.rmtree(self.folder / "images")
        (self.folder / "images").mkdir()
        (self.folder / "images" / "a.jpg").write_bytes(b"\xff\xd8\xff nothing")
        (self.folder / "images" / "b.png").write_bytes(b"")
        result = self.quantize(self.narrow(), code=1)
        self.assertIn("none of the 2 pictures could be read", result.err)
        self.assertEqual([], [path.name for path in self.folder.glob("int8*")])

    def test_nan_inside_the_network_names_the_tensor(self):
        name = self.narrow()
        self.set_values(name, "layer2.0.bn1.bias", float("nan"), [1])
        result = self.quantize(name, code=1)
        self.assertIn("NaN", result.err)
        self.assertIn("layer2.0", result.err)
        self.assertEqual([], [path.name for path in self.folder.glob("int8*")])

    def test_dead_and_constant_channels_are_noted_and_do_no_harm(self):
        name = self.narrow()
        self.set_values(name, "layer1.0.bn1.weight", 0.0, [2, 5])  # what is left is the bias
        self.set_values(name, "layer1.0.bn1.bias", -0.5, [2])  # dead behind relu
        self.set_values(name, "layer1.0.bn1.bias", 0.5, [5])  # constant
        for part in ("weight", "bias"):
            self.set_values(name, f"layer3.0.bn2.{part}", 0.0, range(8))  # a whole tensor of zeros
        result = self.quantize(name, "--json", "r.json")
        notes = json.loads((self.folder / "r.json").read_text())["notes"]
        self.assertTrue(any("layer3.0" in note and "zero in every picture" in note for note in notes), notes)
        self.assertTrue(any("layer1.0" in note and "channels were zero" in note for note in notes), notes)
        self.assertIn("zero in every picture", result.out)
        self.assertLess(self.error(name), 0.1)

    def test_one_picture_is_enough(self):
        name = self.narrow()
        result = self.quantize(name, "--max-images", 1, "--json", "r.json")
        self.assertEqual(1, json.loads((self.folder / "r.json").read_text())["images"])
        self.assertIn("1 through", result.out)
        self.assertLess(self.error(name), 0.3)

    @needs("tensorrt_rtx")
    def test_int8_for_an_ada_card_in_tensorrt_for_rtx_is_warned_of(self):
        self.quantize(self.narrow())
        build = ("build", "int8.onnx", "--backend", "tensorrt_rtx", "--batch", 1, "-o", "x.plan", "--target")
        self.assertIn("no INT8 convolution on Ada", self.ferry(*build, "8.9").err)
        self.assertNotIn("Ada", self.ferry(*build, "8.6").err)

    def test_what_is_refused(self):
        name = self.narrow()
        for more, message in ((("--keep", "conv9"), "conv9"), (("--method", "median"), "max, percentile"),
                              (("--percentile", "99"), "--method percentile"), (("--seed", "3"), "--max-images"),
                              (("--labels", "x.csv"), "--max-drop")):
            self.assertIn(message, self.quantize(name, *more, code=1 if more[0] == "--keep" else 2).err)
        (self.folder / "empty").mkdir()
        (self.folder / "bad.json").write_text("{}")
        for calibration, message in (("empty", "empty"), ("nowhere", "nowhere"), ("bad.json", "no calibration file")):
            result = self.ferry("quantize", name, "--calibration", calibration, "-o", "int8.onnx", code=1)
            self.assertIn(message, result.err)
        self.assertFalse((self.folder / "int8.onnx").exists())
        self.assertEqual([], self.left_behind())


if __name__ == "__main__":
    unittest.main()
