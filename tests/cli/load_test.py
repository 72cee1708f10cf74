"""bench and compare under load, tune, and layers: rows, JSON, wrong usage."""

import json
import unittest

from harness import CliTest

SHORT = ("--runs", 3, "--seconds", 0)


class Load(CliTest):
    def bench(self, *options, **expected):
        return self.ferry("bench", self.narrow(), "--backend", "fake", *SHORT, *options, **expected)

    def test_bench_has_a_row_for_each_mode(self):
        result = self.bench("--batch", "2", "--mode", "latency,throughput,end-to-end", "--sessions", 2, "--json", "r.json")
        rows = json.loads((self.folder / "r.json").read_text())["results"]
        self.assertEqual([("latency", 1), ("throughput", 2), ("end-to-end", 2)], [(r["mode"], r["sessions"]) for r in rows])
        for row in rows[1:]:
            self.assertEqual("request under load", row["timed"])
            self.assertGreater(row["images_per_second"], 0)
            self.assertGreater(row["p99_ms"], 0)
            self.assertNotIn("against_device", row)  # nothing to compare with where nothing is transferred
        self.assertIn("throughput x2", result.out)
        self.fits(result.out)

    def test_the_device_alone_is_measured_in_turns_with_the_load(self):
        """Requests of 10 ms, 20 with their copies, so half of what the device computes alone."""
        result = self.bench("--batch", 2, "--mode", "throughput", "--sessions", 2, "--json", "r.json",
                            env={"FERRY_FAKE_MODE": "resident,throttled", "FERRY_FAKE_MS": "10,0,10"})
        row = json.loads((self.folder / "r.json").read_text())["results"][0]
        against = row["against_device"]
        self.assertEqual(5, len(against["ratios"]))
        self.assertEqual(sorted(against["ratios"])[2], row["share_of_device"])
        self.assertTrue(0.35 < row["share_of_device"] < 0.7, row["share_of_device"])
        self.assertGreater(against["device"]["images_per_second"], against["load"]["images_per_second"])
        self.assertEqual((700, 4), (against["device"]["power_median_w"], against["load"]["throttle_reasons"]))
        self.assertEqual((1000, 1000), (against["load"]["sm_clock_median_mhz"], against["device"]["sm_clock_min_mhz"]))
        self.assertRegex(result.out, r"(?m)^- share of device, 5 turns of 0\.\d s each: 2 sessions with transfers against "
                                     r"them computing only$")
        self.assertRegex(" ".join(result.out.split()), r"% of what the device alone computes \(turns: [\d.]+ to [\d.]+\); with "
                         r"transfers: \d+ images/s, 1000 MHz \(lowest 1000\), 700 W, power limit; computing only: \d+ images/s, 1000 MHz \(lowest "
                         r"1000\), 700 W, power limit")
        self.fits(result.out)

    def test_the_number_of_sessions_is_found_and_explained(self):
        result = self.bench("--batch", 1, "--mode", "throughput", "--json", "r.json")
        stored = json.loads((self.folder / "r.json").read_text())
        self.assertGreaterEqual(stored["results"][0]["sessions"], 1)
        self.assertIn("within 1 % of the best", " ".join(stored["notes"]))
        self.assertIn("images/s", result.out)

    def test_compare_has_modes_too(self):
        result = self.ferry("compare", self.narrow(), "--backends", "fake", *SHORT, "--batch", 2, "--mode", "latency,throughput",
                            "--sessions", 2, "--json", "r.json")
        rows = json.loads((self.folder / "r.json").read_text())["results"]
        self.assertEqual([("latency", True), ("throughput", True)], [(row["mode"], row["ok"]) for row in rows])
        self.assertIn("batch 2, throughput", result.out)
        self.fits(result.out)

    def test_a_failing_session_becomes_a_row(self):
        result = self.bench("--batch", 1, "--mode", "throughput", "--sessions", 2, "--json", "r.json", code=1,
                            env={"FERRY_FAKE_FAIL": "staging"})
        row = json.loads((self.folder / "r.json").read_text())["results"][0]
        self.assertIn("fake failure in staging", row["failure"])
        self.assertIn("failed", result.out)

    def test_layers_are_shown_and_stored(self):
        result = self.bench("--batch", 1, "--layers", "--json", "r.json")
        layers = json.loads((self.folder / "r.json").read_text())["results"][0]["layers"]
        self.assertEqual("weighted_means", layers["layers"][0]["kernel"])
        self.assertAlmostEqual(0.5, layers["floor_ms"] / layers["total_ms"])
        self.assertIn("weighted_means", result.out)
        self.fits(result.out)

    def test_tune_chooses_a_point(self):
        result = self.ferry("tune", self.narrow(), "--backend", "fake", "--batch", "1,4", "--sessions", "1,2", "--seconds", 0.01,
                            "--json", "r.json")
        stored = json.loads((self.folder / "r.json").read_text())
        self.assertEqual(4, len(stored["points"]))
        self.assertIn(stored["chosen"], stored["points"])
        self.assertIn("<- chosen", result.out)
        self.fits(result.out)
        self.ferry("tune", self.narrow(), "--backend", "fake", "--batch", "1", "--sessions", "1", "--seconds", 0.01,
                   "--max-latency", 1e-9, code=1)

    def test_tune_ends_in_time_with_what_it_has(self):
        """Nine points of a second each: the first is over the limit already."""
        result = self.ferry("tune", self.narrow(), "--backend", "fake", "--batch", "1,2,3", "--sessions", "1,2,3", "--seconds", 1,
                            "--within", 1, "--json", "r.json", env={"FERRY_FAKE_MS": "20,0"})
        stored = json.loads((self.folder / "r.json").read_text())
        self.assertEqual(1, len(stored["points"]))
        self.assertRegex(" ".join(stored["notes"]), r"Stopped after \d+ s with 1 of 9 points: --within")
        self.assertIn("--within", result.out)
        self.fits(result.out)

    def test_long_work_says_that_it_goes_on_without_a_terminal(self):
        result = self.ferry("tune", self.narrow(), "--backend", "fake", "--batch", "1", "--sessions", "1,2,3", "--seconds", 3,
                            env={"FERRY_FAKE_MS": "20,0"})
        self.assertRegex(result.err, r"trying batches and sessions: batch 1, \d sessions \(point \d of 3; best \d+ images/s")

    def test_wrong_usage_names_the_option(self):
        for options in (("--mode", "fast"), ("--sessions", "0"), ("--sessions", "many"), ("--mode", "throughput", "--layers")):
            self.assertIn(options[0] if options[1] != "throughput" else "--layers", self.bench(*options, code=2).err)


if __name__ == "__main__":
    unittest.main()
