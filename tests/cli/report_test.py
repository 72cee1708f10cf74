"""report: stored results as a page, and two runs held against each other."""

import json
import unittest

from compare_test import FAKE, SHORT
from harness import CliTest


class Report(CliTest):
    def setUp(self):
        super().setUp()
        self.ferry("compare", self.narrow(), *FAKE, *SHORT, "--batch", 1, "--json", "a.json", "--report", "direct.html")

    def edited(self, name, edit):
        results = json.loads((self.folder / "a.json").read_text())
        edit(results["results"][0])
        (self.folder / name).write_text(json.dumps(results))

    def scale(self, name, factor):
        def edit(row):
            for key in ("median_ms", "host_median_ms"):
                row[key] *= factor
            row["round_medians_ms"] = [row["median_ms"]] * 5
        self.edited(name, edit)

    def test_a_page_from_stored_results(self):
        result = self.ferry("report", "a.json", "-o", "a.html")
        self.assertIn("batch 1", result.out)
        page = (self.folder / "a.html").read_text()
        self.assertIn("<h1>", page)
        self.assertNotIn("<script", page)
        self.assertIn("Fake engine", (self.folder / "direct.html").read_text())

    def test_bench_writes_a_page_too(self):
        self.ferry("bench", "narrow.safetensors", "--backend", "fake", *SHORT, "--batch", 1, "--report", "b.html")
        page = (self.folder / "b.html").read_text()
        self.assertNotIn("<span>wrong:", page)
        self.assertIn("narrow: Fake engine", page)

    def test_two_runs(self):
        self.scale("base.json", 1)
        self.scale("slow.json", 1.5)
        self.scale("fast.json", 0.5)
        self.ferry("report", "base.json", "base.json")
        self.assertIn("faster", self.ferry("report", "base.json", "fast.json").out)
        result = self.ferry("report", "base.json", "slow.json", "-o", "d.html", "--json", "d.json", code=3)
        self.assertIn("slower", result.out)
        self.fits(result.out)
        self.assertIn("1 slower beyond noise", (self.folder / "d.html").read_text())
        difference = json.loads((self.folder / "d.json").read_text())
        self.assertTrue(difference["worse"])
        self.assertAlmostEqual(0.5, difference["changes"][0]["change"], places=6)

    def test_what_does_not_run_any_more_is_worse(self):
        self.edited("dead.json", lambda row: row.update(failure="open: gone"))
        self.assertIn("does not run any more", self.ferry("report", "a.json", "dead.json", code=3).out)

    def test_what_is_no_results_file(self):
        (self.folder / "x.json").write_text("{}")
        self.fails("report", "x.json", says="not a results file")
        self.fails("report", "none.json", says="cannot be read")
        self.fails("report", "a.json", "-o", "a.json", code=2, says="holds the results")


if __name__ == "__main__":
    unittest.main()
