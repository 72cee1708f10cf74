"""eval: labels and references, broken pictures, what is refused."""

import json
import shutil
import unittest

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
