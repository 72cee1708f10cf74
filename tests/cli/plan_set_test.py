"""build --backend auto: one file for several engines, which every other verb takes."""

import json
import unittest

from harness import CliTest, read_npy, write_npy

BOTH = ("--backend", "fake,twin")
# One image: the twin is faster. Eight: the other one is.
SPEEDS = {"FERRY_TWIN_MS": "0,10", "FERRY_FAKE_MS": "30,1"}
SHORT = ("--runs", 3, "--seconds", 0)


class PlanSets(CliTest):
    def setUp(self):
        super().setUp()
        self.environment.update(SPEEDS)
        self.name = self.narrow()

    def build(self, *options, **expected):
        return self.ferry("build", self.name, *BOTH, "--batch", "1:8", "-o", "net.plan", *options, **expected)

    def test_the_winner_of_each_batch_is_kept_and_shown(self):
        result = self.build("--json", "b.json")
        stored = json.loads((self.folder / "net.plan").read_text())
        self.assertEqual(stored, json.loads((self.folder / "b.json").read_text())["set"])
        self.assertEqual({"fake": [2, 8], "twin": [1, 1]},
                         {p["backend"]: [p["profiles"][0]["min"], p["profiles"][-1]["max"]] for p in stored["plans"]})
        self.assertEqual(2, result.out.count("<- chosen"))
        self.assertIn("batch 2 to 8: Fake engine; batch 1: Twin engine", result.out)
        self.fits(result.out)
        shown = self.ferry("inspect", "net.plan")
        self.assertIn("net.twin.plan: unchanged", shown.out)
        self.fits(shown.out)
        self.assertEqual([], self.left_behind())

    def test_the_others_take_it(self):
        self.build()
        for count, engine in ((1, "Twin engine"), (8, "Fake engine")):
            write_npy(self.folder / "x.npy", [count, 3, 224, 224])
            result = self.ferry("infer", "net.plan", "--input", "x.npy", "--output", "y.npy")
            self.assertIn(f"on {engine}:", result.out)
            self.assertEqual((count, 10), read_npy(self.folder / "y.npy")[0])
        rows = self.ferry("bench", "net.plan", "--batch", "1,8", *SHORT, "--mode", "latency,throughput", "--sessions", 1,
                          "--json").json()["results"]
        self.assertEqual([("twin", 1)] * 2 + [("fake", 8)] * 2, [(row["backend"], row["batch"]) for row in rows])
        self.assertEqual("Twin engine (plan set)", rows[0]["engine"])
        self.ferry("tune", "net.plan", "--batch", "1,8", "--sessions", 1, "--seconds", 0.01)

    def test_compare_shows_the_set_beside_the_engines(self):
        self.build()
        rows = self.ferry("compare", self.name, "--backends", "fake,twin", "--precision", "fp32", "--batch", "1,8", *SHORT,
                          "--plan", "net.plan", "--json", "r.json").out
        rows = json.loads((self.folder / "r.json").read_text())["results"]
        names = [(row["batch"], row["engine"]) for row in rows]
        for batch, winner in ((1, "Twin engine"), (8, "Fake engine")):
            for engine in ("Fake engine", "Twin engine", winner + " (plan set)"):
                self.assertIn((batch, engine), names)
        self.assertTrue(all(row["ok"] for row in rows))
        self.fails("compare", "net.plan", code=2, says="--plan net.plan")
        alone = self.ferry("compare", self.name, "--backends", "none", "--precision", "fp32", "--batch", 8, *SHORT,
                           "--plan", "net.plan", "--json", "r.json", code=None)
        rows = json.loads((self.folder / "r.json").read_text())["results"]
        self.assertEqual(["Fake engine (plan set)"], [row["engine"] for row in rows], alone.out)
        self.fails("compare", self.name, "--backends", "none", code=2, says="--plan FILE")

    def test_an_engine_that_fails_is_one_line(self):
        result = self.build(env={"FERRY_TWIN_FAIL": "build"})
        self.assertRegex(result.out, r"left out +Twin engine: fake failure in build")
        self.assertEqual(1, result.out.count("fake failure"))
        self.ferry("bench", "net.plan", "--batch", "1,8", *SHORT)

    def test_auto_takes_what_is_here(self):
        """No listed engine builds on a machine without a GPU: then the message says why, engine by engine."""
        result = self.ferry("build", self.name, "--backend", "auto", "-o", "net.plan", "--json", "r.json", code=None)
        if result.code == 0:
            self.assertTrue(json.loads((self.folder / "net.plan").read_text())["plans"])
        else:
            self.assertEqual(1, result.code)
            self.assertIn("no engine could be built: ", result.err)
            self.assertFalse((self.folder / "net.plan").exists())

    def test_wrong_usage(self):
        self.fails("build", self.name, *BOTH, code=2, says="-o net.plan")
        self.fails("build", self.name, "--backend", "fake,none", "-o", "net.plan", code=2, says="no engine 'none'")
        self.fails("build", self.name, *BOTH, "-o", "net.plan", "--target", "8.9", code=2, says="--target")
        self.fails("build", self.name, *BOTH, "-o", "net.plan", "--batch", "0", code=2, says="--batch")
        self.build()
        self.fails("bench", "net.plan", "--backend", "fake", code=2, says="which engine runs which batch")

    def test_a_changed_plan_is_refused_with_the_command_for_the_set(self):
        self.build()
        with open(self.folder / "net.twin.plan", "ab") as file:
            file.write(b"x")
        self.fails("bench", "net.plan", "--batch", 1, says="ferry build .*--backend fake,twin --batch 1,8 -o net.plan")
        self.assertIn("net.twin.plan: CHANGED", self.ferry("inspect", "net.plan").out)


if __name__ == "__main__":
    unittest.main()
