"""The command line itself: help, wrong usage, exit codes."""

import unittest

from harness import CliTest

VERBS = ("doctor", "fetch", "export", "build", "infer", "bench", "compare", "tune", "inspect")


class Usage(CliTest):
    def test_help_lists_every_verb_and_fits(self):
        result = self.ferry("--help")
        for verb in VERBS:
            self.assertRegex(result.out, rf"(?m)^  {verb} ")
        self.fits(result.out)
        self.assertEqual("", result.err)

    def test_each_verb_has_help_that_fits(self):
        for verb in VERBS:
            result = self.ferry(verb, "--help")
            self.assertIn("--json", result.out)
            self.assertIn("--quiet", result.out)
            self.fits(result.out)

    def test_version(self):
        self.assertRegex(self.ferry("--version").out, r"^ferry \d+\.\d+\.\d+$")

    def test_without_a_verb_it_shows_the_help_and_fails(self):
        result = self.ferry(code=2)
        self.assertIn("compare", result.err)
        self.assertEqual("", result.out)

    def test_wrong_usage_is_exit_code_2_with_the_way_to_help(self):
        self.fails("conquer", code=2, says="'conquer' is not a verb(.|\n)*ferry --help")
        self.fails("export", code=2, says="(.|\n)*ferry export --help")
        self.fails("inspect", "x", "--no-such-option", code=2, says="no-such-option")
        self.fails("inspect", "x", "--quiet", "--verbose", code=2)
        name = self.narrow()
        self.fails("compare", name, "--batch", "1,zero", code=2, says="'zero' is not a batch size")
        self.fails("compare", name, "--batch", "0", code=2, says="'0' is not a batch size")
        self.fails("compare", name, "--batch", "1,,8", code=2, says="empty part")
        self.fails("compare", name, "--precision", "fp12", code=2, says="fp12")
        self.fails("compare", name, "--backends", "warp-drive", code=2, says="no engine 'warp-drive'")
        self.fails("compare", name, "--arch", "resnet999", code=2, says="resnet999")
        self.fails("compare", name, "--runs", "0", code=2)
        self.fails("build", name, "--batch", "8:1:64", code=2, says="8:1:64")
        self.fails("export", name, "-o", "x.onnx", "--fp16-io", code=2, says="--fp16-io")
        self.fails("export", name, "-o", "x.onnx", "--precision", "int8", code=2, says="fp32 or fp16")
        self.fails("export", name, "-o", name, code=2, says="is the checkpoint itself")
        self.fails("compare", name, "--random-weights", code=2, says="weights of its own")
        self.fails("compare", "resnet18", "--random-weights=seven", code=2, says="'seven' is not a seed")
        self.fails("fetch", code=2, says="which network")
        self.fails("fetch", "alexnet", code=2, says="alexnet")

    def test_a_file_instead_of_a_verb_gets_the_command_that_was_meant(self):
        self.fails(self.narrow(), code=2, says="Did you mean: ferry compare narrow.safetensors")

    def test_json_never_takes_the_model_for_its_file(self):
        name = self.narrow()
        before = (self.folder / name).read_bytes()
        self.assertEqual("checkpoint", self.ferry("inspect", "--json", name).json()["kind"])
        self.fails("inspect", f"--json={name}", name, code=2, says="must end in .json")
        self.assertEqual(before, (self.folder / name).read_bytes())

    def test_errors_are_json_too(self):
        result = self.ferry("inspect", "nothing.pth", "--json", code=1)
        self.assertEqual("model", result.json()["error"]["stage"])
        self.assertEqual(1, result.json()["exit_code"])
        self.assertIn("ferry: model: nothing.pth", result.err)

    def test_a_result_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w") as full:
            self.ferry("--help", code=1, stdout=full)
            self.ferry("inspect", self.narrow(), code=1, stdout=full)
        self.fails("inspect", "narrow.safetensors", "--json", "no/such/folder/x.json", says="x.json")


if __name__ == "__main__":
    unittest.main()
