"""eval: labels and references, broken pictures, what is refused."""

import json
import shutil
import unittest

from compare_test import needs
from harness import SOURCE, CliTest

PICTURES = SOURCE / "tests/unit/image/data"
FAKE = ("--backend", "fake")


class Eval(CliTest):
    def setUp(self):
        super().setUp()
        self.images = self.folder / "images"
        self.images.mkdir()
        for name in ("baseline.jpg", "grey.jpg", "alpha.png"):
            shutil.copyfile(PICTURES / name, self.images / name)

    def labels(self, *lines):
        (self.images / "labels.csv").write_text("".join(line + "\n" for line in lines))

    def test_labels_give_top1_and_top5_with_intervals(self):
        name = self.narrow()
        predicted = {}
        for label in range(10):  # the fake engine's answers, found by asking
            self.labels(*(f"{p},{label}" for p in ("baseline.jpg", "grey.jpg", "alpha.png")))
            row = self.ferry("eval", name, "--images", "images", *FAKE, "--json").json()["results"][0]
            predicted[label] = row["top1"]["hits"], row["top5"]["hits"]
        self.assertEqual(3, sum(top1 for top1, _ in predicted.values()))  # each picture has one best class
        self.assertEqual(15, sum(top5 for _, top5 in predicted.values()))
        low, high = row["top1"]["ci95"]
        self.assertTrue(0 <= low <= row["top1"]["share"] <= high <= 1)
        self.assertEqual((3, None, None), (row["images"], row["agreement"], row["failure"]))

    def test_a_reference_gives_agreement_without_labels(self):
        first, second = self.narrow("a.safetensors"), self.narrow("b.safetensors", seed=2)
        result = self.ferry("eval", first, second, "--images", "images", *FAKE, "--json", "r.json")
        self.fits(result.out)
        self.assertIn("are against a fp32 fake", result.out)
        rows = json.loads((self.folder / "r.json").read_text())["results"]
        self.assertEqual([None, 3], [row["agreement"] and row["agreement"]["images"] for row in rows])
        self.assertGreater(rows[1]["relative_error"], 0)
        same = self.ferry("eval", first, "--reference", first, "--images", "images", *FAKE, "--json").json()["results"]
        self.assertEqual((3, 0, 0), (same[1]["agreement"]["hits"], same[1]["relative_error"], same[1]["kl"]))

    def test_a_broken_picture_is_named_and_the_exit_code_says_so(self):
        (self.images / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
        self.labels("baseline.jpg,1", "broken.jpg,1", "grey.jpg,2")
        result = self.ferry("eval", self.narrow(), "--images", "images", *FAKE, code=1)
        self.assertIn("broken.jpg", result.err)
        self.assertIn("2 pictures", result.out)

    def test_an_engine_that_gives_nan_fails(self):
        self.labels("baseline.jpg,1")
        result = self.ferry("eval", self.narrow(), "--images", "images", *FAKE, code=1, env={"FERRY_FAKE_MODE": "nan"})
        self.assertRegex(result.out + result.err, "NaN")

    def test_an_engine_on_a_gpu_gets_pixels_and_the_same_scores(self):
        self.labels("baseline.jpg,1", "grey.jpg,2", "alpha.png,3")
        name = self.narrow()
        ask = ("eval", name, "--reference", name, "--images", "images", *FAKE, "--batch", 1, "--json")
        want = self.ferry(*ask).json()["results"]
        got = self.ferry(*ask, env={"FERRY_FAKE_MODE": "images"}).json()["results"]
        for row in want + got:
            row.pop("seconds")
        self.assertEqual(want, got)
        self.assertEqual(0, got[1]["relative_error"])

    @needs("openvino")
    def test_graphs_that_take_pixels_are_scored_and_top_k_is_refused_first(self):
        name = self.narrow()
        self.ferry("export", name, "-o", "plain.onnx")
        self.ferry("export", name, "-o", "pixels.onnx", "--input", "uint8")
        self.ferry("export", name, "-o", "planes.onnx", "--input", "uint8-nchw")
        self.ferry("export", name, "-o", "best.onnx", "--top-k", 3)
        engine = ("--backend", "openvino")
        rows = self.ferry("eval", "plain.onnx", "pixels.onnx", "planes.onnx", "--images", "images", *engine, "--json").json()["results"]
        for row in rows[1:]:
            self.assertEqual((3, None), (row["agreement"]["hits"], row["failure"]))
            self.assertLess(row["relative_error"], 1e-4)
        done = self.ferry("eval", "plain.onnx", "best.onnx", "--images", "images", *engine, code=2)
        self.assertRegex(done.err, "best.onnx.*--top-k")
        self.assertNotIn("evaluating", done.err)
        done = self.ferry("compare", "best.onnx", "--images", "images", "--backends", "openvino", "--runs", 3, "--seconds", 0, code=2)
        self.assertRegex(done.err, "--top-k")
        self.ferry("compare", "pixels.onnx", "--images", "images", "--backends", "openvino", "--runs", 3, "--seconds", 0, "--batch", 1, "--json",
                   "r.json")
        row = json.loads((self.folder / "r.json").read_text())["results"][0]
        self.assertEqual((True, None), (row["ok"], row["failure"]))

    def test_compare_times_the_whole_way_from_files_to_classes(self):
        (self.images / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
        ask = ("compare", self.narrow(), "--images", "images", "--backends", "fake", "--runs", 3, "--seconds", 0, "--batch", "1,2",
               "--mode", "latency,end-to-end", "--json", "r.json")
        for mode in ("", "images"):
            self.ferry(*ask, env={"FERRY_FAKE_MODE": mode})
            rows = json.loads((self.folder / "r.json").read_text())["results"]
            self.assertEqual([("latency", 1), ("end-to-end", 1), ("latency", 2), ("end-to-end", 2)],
                             [(row["mode"], row["batch"]) for row in rows])
            for row in rows:
                self.assertEqual((True, None), (row["ok"], row["failure"]))
                self.assertGreater(row["images_per_second"], 0)
        self.fails(*ask, env={"FERRY_FAKE_FAIL": "staging"}, says="staging")

    def test_what_is_refused(self):
        name = self.narrow()
        self.assertIn("has no labels", self.ferry("eval", name, "--images", "images", *FAKE, code=2).err)
        self.assertIn("nowhere", self.ferry("eval", name, "--images", "nowhere", *FAKE, code=1).err)
        self.labels("baseline.jpg,10")
        self.assertIn("10 classes", self.ferry("eval", name, "--images", "images", *FAKE, code=2).err)
        self.labels("absent.jpg,1")
        self.assertIn("absent.jpg", self.ferry("eval", name, "--images", "images", *FAKE, code=1).err)
        self.assertIn("imagenet-v1", self.ferry("eval", name, "--images", "images", "--preset", "v3", code=2).err)


if __name__ == "__main__":
    unittest.main()
