"""fetch, export, inspect, build and infer on good and on bad files."""

import functools
import http.server
import json
import os
import struct
import threading
import unittest

from harness import CliTest, read_npy, write_npy

FAKE = ("--backend", "fake")


class Inspect(CliTest):
    def test_checkpoint(self):
        name = self.narrow()
        result = self.ferry("inspect", name, "--tensors")
        self.assertIn("10 classes", result.out)
        self.assertIn("layer4.0.bn3.running_var", result.out)
        facts = self.ferry("inspect", name, "--json").json()
        self.assertEqual("safetensors", facts["format"])
        self.assertEqual([1, 1, 1, 1], facts["architecture"]["depths"])
        self.assertNotIn("tensors", facts)

    def test_a_checkpoint_of_something_else_is_shown_with_what_is_missing(self):
        name = self.narrow(**{"conv1.weight": [8, 3, 5, 5]})
        result = self.ferry("inspect", name)
        self.assertRegex(result.out, "not one that ferry knows.*conv1")

    def test_names_out_of_a_file_cannot_steer_the_terminal(self):
        name = self.narrow(**{"evil\x1b[2Jname": [1]})
        self.assertIn("evil\\x1b[2Jname", self.ferry("inspect", name, "--tensors").out)

    def test_onnx_and_plan(self):
        name = self.narrow()
        self.ferry("export", name, "-o", "n.onnx")
        summary = self.ferry("inspect", "n.onnx", "--json").json()
        self.assertEqual((17, "fp32"), (summary["opset"], summary["precision"]))
        self.assertEqual([-1, 3, 224, 224], summary["inputs"][0]["shape"])
        self.fits(self.ferry("inspect", "n.onnx").out)
        self.ferry("build", "n.onnx", "-o", "n.plan", *FAKE)
        plan = self.ferry("inspect", "n.plan", "--json").json()
        self.assertEqual(("unchanged", "unchanged"), (plan["plan_state"], plan["onnx_state"]))
        with open(self.folder / "n.plan", "ab") as file:
            file.write(b"x")
        self.assertRegex(self.ferry("inspect", "n.plan").out, "CHANGED since the build")

    def test_bad_files_are_one_message(self):
        good = (self.folder / self.narrow()).read_bytes()
        for size in (0, 1, 8, 100, len(good) - 1):
            (self.folder / "cut.safetensors").write_bytes(good[:size])
            self.fails("inspect", "cut.safetensors", says="cut.safetensors")
        (self.folder / "huge.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
        self.fails("inspect", "huge.safetensors", says="huge.safetensors")
        (self.folder / "noise.pth").write_bytes(bytes(range(256)) * 16)
        self.fails("inspect", "noise.pth", says="noise.pth")
        (self.folder / "noise.onnx").write_bytes(b"\x08\x09" + bytes(range(256)))
        self.fails("inspect", "noise.onnx", says="noise.onnx")
        (self.folder / "alone.plan").write_bytes(b"plan")
        self.fails("inspect", "alone.plan", says="alone.plan")
        self.fails("inspect", self.folder, says="folder")
        self.fails("inspect", "missing.pth", says="no such file")

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_unreadable(self):
        name = self.narrow()
        os.chmod(self.folder / name, 0)
        self.fails("inspect", name, says="[Pp]ermission")


class Export(CliTest):
    def test_fp32_and_fp16(self):
        name = self.narrow()
        sizes = {}
        for precision in ("fp32", "fp16"):
            result = self.ferry("export", name, "-o", f"{precision}.onnx", "--precision", precision, "--json").json()
            self.assertEqual((precision, False), (result["precision"], result["random_weights"]))
            sizes[precision] = (self.folder / f"{precision}.onnx").stat().st_size
        self.assertLess(sizes["fp16"], 0.7 * sizes["fp32"])

    def test_keeping_batch_norm(self):
        self.ferry("export", self.narrow(), "-o", "bn.onnx", "--keep-batch-norm")
        self.assertIn("BatchNormalization", self.ferry("inspect", "bn.onnx", "--json").json()["operators"])

    def test_random_weights_are_labelled_and_repeatable(self):
        for name in ("a.onnx", "b.onnx"):
            result = self.ferry("export", "resnet18", "--random-weights=7", "-o", name)
            self.assertIn("random weights, seed 7", result.out)
        self.assertEqual((self.folder / "a.onnx").read_bytes(), (self.folder / "b.onnx").read_bytes())

    def test_no_network_says_so_and_offers_seeded_weights(self):
        self.fails("export", "resnet18", "-o", "x.onnx", says="--random-weights")
        self.assertFalse((self.folder / "x.onnx").exists())

    def test_another_architecture_is_refused(self):
        self.fails("export", self.narrow(), "-o", "x.onnx", "--arch", "resnet50", says="resnet50")

    def test_a_place_that_cannot_be_written_leaves_nothing(self):
        name = self.narrow()
        self.fails("export", name, "-o", "no/folder/x.onnx", says="x.onnx")
        (self.folder / "x.onnx").write_bytes(b"old")
        self.ferry("export", name, "-o", "x.onnx")
        self.assertEqual([], self.left_behind())


class Build(CliTest):
    def test_build_says_what_it_made(self):
        self.ferry("export", self.narrow(), "-o", "n.onnx")
        result = self.ferry("build", "n.onnx", "-o", "n.plan", *FAKE)
        self.assertRegex(result.out, r"profile +batch \d+:\d+:\d+")
        self.assertRegex(result.out, r"proof +\d+ layers")
        self.fits(result.out)
        sidecar = json.loads((self.folder / "n.plan.json").read_text())
        self.assertEqual("fake", sidecar["backend"])

    def test_without_a_name_the_plan_goes_to_the_cache_and_is_found_again(self):
        name = self.narrow()
        first = self.ferry("build", name, *FAKE, "--json").json()
        second = self.ferry("build", name, *FAKE, "--json").json()
        forced = self.ferry("build", name, *FAKE, "--force", "--json").json()
        self.assertEqual([False, True, False], [r["cache_hit"] for r in (first, second, forced)])
        self.assertEqual(first["plan"], second["plan"])
        self.assertTrue(first["plan"].startswith(str(self.folder / "cache")))

    def test_every_failing_entry_is_reported_and_leaves_nothing(self):
        self.ferry("export", self.narrow(), "-o", "n.onnx")
        for entry in ("build", "open", "io", "open_session", "submit", "wait"):
            self.fails("build", "n.onnx", "-o", "n.plan", *FAKE, env={"FERRY_FAKE_FAIL": entry}, says=f"fake failure in {entry}")
            self.assertFalse((self.folder / "n.plan").exists(), entry)
            self.assertFalse((self.folder / "n.plan.json").exists(), entry)
            self.assertEqual([], self.left_behind(), entry)

    def test_an_old_plan_survives_a_failed_build(self):
        self.ferry("export", self.narrow(), "-o", "n.onnx")
        self.ferry("build", "n.onnx", "-o", "n.plan", *FAKE)
        before = (self.folder / "n.plan").read_bytes()
        self.fails("build", "n.onnx", "-o", "n.plan", *FAKE, "--force", env={"FERRY_FAKE_FAIL": "build"})
        self.assertEqual(before, (self.folder / "n.plan").read_bytes())
        self.ferry("infer", "n.plan", "--input", self.image(), "--top", 1)

    def image(self):
        write_npy(self.folder / "image.npy", [3, 224, 224])
        return "image.npy"

    def test_the_model_is_never_overwritten(self):
        self.ferry("export", self.narrow(), "-o", "n.onnx")
        before = (self.folder / "n.onnx").read_bytes()
        self.fails("build", "n.onnx", "-o", "n.onnx", *FAKE, code=2, says="is the model itself")
        self.assertEqual(before, (self.folder / "n.onnx").read_bytes())

    def test_weights_stay_in_host_memory_only_where_the_plan_was_built_for_it(self):
        model = self.narrow()
        built = self.ferry("build", model, "--backend", "fake", "--batch", 1, "--weight-streaming", "-o", "some.plan")
        self.assertRegex(built.out, r"streaming +\d[\d.]* \wB of weights may stay in host memory")
        self.fits(built.out)
        result = self.ferry("bench", "some.plan", "--batch", 1, "--runs", 3, "--seconds", 0, "--weight-budget", 0.001,
                            "--json", "r.json")
        self.assertIn("\n  some, Fake engine: about 1.0 kB of device memory", result.out)
        self.assertRegex(" ".join(result.out.split()), r"about 1\.0 kB of device memory with one session; 1\.0 kB of \d[\d.]* "
                         r"\wB of weights stay there")
        self.fits(result.out)
        self.assertEqual(1000, json.loads((self.folder / "r.json").read_text())["results"][0]["device_memory_bytes"])
        self.ferry("build", model, "--backend", "fake", "--batch", 1, "-o", "all.plan")
        self.fails("bench", "all.plan", "--weight-budget", 1, says="keep all its weights on the device")


class Infer(CliTest):
    def setUp(self):
        super().setUp()
        self.name = self.narrow()
        write_npy(self.folder / "x.npy", [2, 3, 224, 224])

    def test_outputs_and_best_classes(self):
        result = self.ferry("infer", self.name, *FAKE, "--input", "x.npy", "--output", "y.npy", "--top", 3, "--json").json()
        shape, values = read_npy(self.folder / "y.npy")
        self.assertEqual((2, 10), shape)
        self.assertEqual([2, 10], result["output_shape"])
        for image in range(2):
            row = values[10 * image:10 * image + 10]
            self.assertEqual([3], [len(result["top"][image])])
            self.assertAlmostEqual(max(row), result["top"][image][0]["logit"], places=5)

    def test_one_image_without_a_batch_dimension(self):
        write_npy(self.folder / "one.npy", [3, 224, 224])
        self.assertIn("1x3x224x224 -> 1x10", self.ferry("infer", self.name, *FAKE, "--input", "one.npy").out)

    def test_wrong_inputs_are_refused_with_given_against_allowed(self):
        write_npy(self.folder / "small.npy", [1, 3, 8, 8])
        self.fails("infer", self.name, *FAKE, "--input", "small.npy", says="1x3x8x8")
        self.ferry("build", self.name, "-o", "two.plan", "--batch", "1:1:1", *FAKE)
        self.fails("infer", "two.plan", "--input", "x.npy", says="2")
        self.fails("infer", self.name, *FAKE, "--input", "missing.npy", says="missing.npy")
        (self.folder / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff{")
        self.fails("infer", self.name, *FAKE, "--input", "bad.npy", says="bad.npy")

    def test_nan_is_a_failure_and_writes_nothing(self):
        self.fails("infer", self.name, *FAKE, "--input", "x.npy", "--output", "y.npy",
                   env={"FERRY_FAKE_MODE": "nan"}, says="NaN|nan")
        self.assertFalse((self.folder / "y.npy").exists())

    def test_a_changed_plan_is_refused_with_the_command_that_repairs_it(self):
        self.ferry("export", self.name, "-o", "n.onnx")
        self.ferry("build", "n.onnx", "-o", "n.plan", *FAKE)
        with open(self.folder / "n.plan", "ab") as file:
            file.write(b"x")
        self.fails("infer", "n.plan", "--input", "x.npy", says="ferry build")


class Fetch(CliTest):
    def test_list(self):
        names = [row["file"] for row in self.ferry("fetch", "--list", "--json").json()]
        self.assertIn("resnet101-63fe2227.pth", names)
        self.fits(self.ferry("fetch", "--list").out)

    def test_a_file_with_another_hash_is_refused(self):
        (self.folder / "resnet18-f37072fd.pth").write_bytes(b"not these weights")
        handler = functools.partial(QuietHandler, directory=str(self.folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/"
            self.fails("fetch", "resnet18", env={"FERRY_WEIGHTS_URL": url}, says="SHA-256")
            server.shutdown()
        self.assertEqual([], [p for p in (self.folder / "cache").rglob("*") if p.is_file()])


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    unittest.main()
