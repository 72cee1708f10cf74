"""classify: photographs in, labels out; broken ones by name; Ctrl-C keeps what is done."""

import csv
import json
import shutil
import signal
import struct
import subprocess
import tarfile
import unittest
import zlib

from harness import FERRY, SOURCE, CliTest

FAKE = ("--backend", "fake")
DATA = SOURCE / "tests/unit/image/data"


class Classify(CliTest):
    def setUp(self):
        super().setUp()
        self.name = self.narrow()
        (self.folder / "photos/sub").mkdir(parents=True)
        for place in ("photos/a.jpg", "photos/sub/b.jpg"):
            shutil.copy(DATA / "baseline.jpg", self.folder / place)
        shutil.copy(DATA / "tall.png", self.folder / "photos/c.png")

    def labels(self, *arguments, **more):
        return self.ferry("classify", self.name, *arguments, *FAKE, "--json", **more).json()

    def test_a_folder_as_a_table(self):
        result = self.ferry("classify", self.name, "photos", *FAKE, "-k", 3)
        lines = result.out.splitlines()
        self.assertEqual(["photos/a.jpg", "photos/c.png", "photos/sub/b.jpg"], lines[::4])
        self.assertRegex(lines[1], r"^ +\d+\.\d\d %  class \d$")
        self.assertRegex(result.err, "3 classified, .* images/s")
        self.assertRegex(result.err, "imagenet-v1.*class names: none")
        self.fits(result.out + result.err)

    def test_the_formats_say_the_same(self):
        want = self.labels("photos")["results"]
        self.assertAlmostEqual(1, sum(label["probability"] for label in self.labels("photos", "-k", 10)["results"][0]["labels"]), 4)
        lines = self.ferry("classify", self.name, "photos", *FAKE, "--format", "jsonl").out.splitlines()
        self.assertEqual(want, [json.loads(line) for line in lines])
        self.ferry("classify", self.name, "photos", *FAKE, "-o", "out.csv")
        with open(self.folder / "out.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([(r["picture"], label["class"]) for r in want for label in r["labels"]],
                         [(row["picture"], int(row["class"])) for row in rows])
        self.assertEqual(["1", "2", "3", "4", "5"], [row["rank"] for row in rows[:5]])

    def test_every_kind_of_input_is_the_same_picture(self):
        with tarfile.open(self.folder / "set.tar.gz", "w:gz") as archive:
            archive.add(self.folder / "photos/a.jpg", "x/a.jpg")
            archive.add(self.folder / self.name, "x/ignored.bin")
        (self.folder / "list.txt").write_text("photos/a.jpg\n")
        want = self.labels("photos/a.jpg")["results"][0]["labels"]
        for given in ("photos/a.j*", "set.tar.gz", "@list.txt"):
            results = self.labels(given)["results"]
            self.assertEqual([want], [r["labels"] for r in results], given)
        for piped in ("photos/a.jpg", "set.tar.gz", "list.txt"):
            with open(self.folder / piped, "rb") as file:
                done = subprocess.run([FERRY, "classify", self.name, "-", *FAKE, "--json"], stdin=file, capture_output=True,
                                      cwd=self.folder, env=self.environment, check=True)
            self.assertEqual([want], [r["labels"] for r in json.loads(done.stdout)["results"]], piped)

    def test_every_coding_that_pillow_reads(self):
        (self.folder / "codings").mkdir()
        names = ("alpha.png", "baseline.jpg", "bits.png", "cmyk.jpg", "grey.jpg", "grey16.png", "palette.png", "progressive.jpg")
        for name in names:
            shutil.copy(DATA / name, self.folder / "codings" / name)
        summary = self.labels("codings")
        self.assertEqual((len(names), 0), (summary["classified"], summary["broken"]))
        for name, result in zip(names, summary["results"]):  # under a name that says something else, too
            self.assertEqual(f"codings/{name}", result["picture"])
            shutil.copy(DATA / name, self.folder / "other.webp")
            self.assertEqual(result["labels"], self.labels("other.webp")["results"][0]["labels"], name)
        shutil.copy(DATA / "lossy.webp", self.folder / "w.webp")
        done = subprocess.run([FERRY, "classify", self.name, "w.webp", *FAKE], capture_output=True, text=True, cwd=self.folder,
                              env=self.environment)
        if done.returncode != 0:  # built without the library
            self.assertEqual(1, done.returncode)
            self.assertRegex(done.stderr, "not classified: w.webp.*WebP")

    def test_orientation_is_followed_when_asked_for(self):
        shutil.copy(DATA / "orientation6.jpg", self.folder / "turned.jpg")
        plain, turned = (self.labels("turned.jpg", *flags)["results"][0]["labels"] for flags in ((), ("--exif",)))
        self.assertNotEqual(plain, turned)

    def test_a_bomb_is_refused_before_it_is_unpacked(self):
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
        (self.folder / "photos/bomb.png").write_bytes(bomb)
        result = self.ferry("classify", self.name, "photos", *FAKE, "--json", code=1)
        self.assertEqual((3, 1), (result.json()["classified"], result.json()["broken"]))
        self.assertRegex(result.err, "not classified: photos/bomb.png.*(60000|limit)")

    def test_awkward_names_survive_every_format(self):
        name = 'photos/a, "b"\nc.jpg'
        shutil.copy(DATA / "baseline.jpg", self.folder / name)
        self.ferry("classify", self.name, name, *FAKE, "-k", 1, "-o", "out.csv")
        with open(self.folder / "out.csv", newline="", encoding="utf-8") as file:
            self.assertEqual([name], [row["picture"] for row in csv.DictReader(file)])
        line = self.ferry("classify", self.name, name, *FAKE, "--format", "jsonl").out
        self.assertEqual(name, json.loads(line)["picture"])
        self.assertEqual(1, line.count("\n"))
        self.ferry("classify", self.name, name, *FAKE, "--report", "sheet.html")
        self.assertIn("a, &quot;b&quot;", (self.folder / "sheet.html").read_text())

    def test_broken_members_of_an_archive_are_skipped(self):
        (self.folder / "cut.jpg").write_bytes((DATA / "baseline.jpg").read_bytes()[:400])
        with tarfile.open(self.folder / "set.tar", "w") as archive:
            for inner, path in (("1.jpg", "photos/a.jpg"), ("2.jpg", "cut.jpg"), ("3.png", "photos/c.png")):
                archive.add(self.folder / path, inner)
        result = self.ferry("classify", self.name, "set.tar", *FAKE, "--json", code=1)
        self.assertEqual([True, False, True], [bool(r.get("labels")) for r in result.json()["results"]])
        self.assertRegex(result.err, "not classified: .*2.jpg")

    def test_broken_pictures_are_named_counted_and_skipped(self):
        good = (self.folder / "photos/a.jpg").read_bytes()
        (self.folder / "photos/cut.jpg").write_bytes(good[: len(good) // 2])
        (self.folder / "photos/text.jpg").write_text("not a picture")
        (self.folder / "photos/empty.jpg").write_bytes(b"")
        (self.folder / "list.txt").write_text("photos\nphotos/gone.jpg\nphotos/a.jpg\n")
        result = self.ferry("classify", self.name, "photos", "@list.txt", *FAKE, "--json", code=1)
        summary = result.json()
        self.assertEqual((4, 5), (summary["classified"], summary["broken"]))
        self.assertEqual(9, len(summary["results"]))
        for name, why in (("photos/cut.jpg", "truncated"), ("photos/text.jpg", "not a JPEG"), ("photos/empty.jpg", "empty"),
                          ("photos/gone.jpg", "No such file"), ("photos:", "regular file")):
            self.assertRegex(result.err, f"not classified: {name}.*{why}")
        self.assertEqual(6, self.labels("photos", "--max-pixels", 100, code=1)["broken"])

    def test_a_contact_sheet_shows_where_engines_disagree(self):
        other = self.narrow("other.safetensors", seed=2)
        result = self.ferry("classify", self.name, "photos", *FAKE, "--against", "fake", "--against", other, "--report", "sheet.html", "--json")
        same, another = result.json()["agreement"]
        self.assertEqual((3, 3), (same["agree"], same["of"]))
        self.assertEqual(3, another["of"])
        page = (self.folder / "sheet.html").read_text()
        self.assertEqual(3, page.count("data:image/jpeg;base64,"))
        self.assertEqual(3, page.count("<figcaption>"))
        self.assertIn("photos/sub/b.jpg", page)
        self.assertNotRegex(page, "https?://")
        self.assertIn("of 3", result.err)
        self.fails("classify", self.name, "-", *FAKE, "--against", "fake", code=2, says="only once")
        self.fails("classify", self.name, "photos", *FAKE, "--against", "nothing", "-o", "out.csv", code=2, says="nothing")
        self.assertFalse((self.folder / "out.csv").exists())
        self.fails("classify", self.name, "photos", *FAKE, "--report", "no/folder/x.html", says="x.html")

    def test_labels_preset_and_batches(self):
        (self.folder / "names.txt").write_text("".join(f"name {i}\n" for i in range(10)))
        plain = self.labels("photos", "--batch", 2, "--decode-threads", 2)
        named = self.labels("photos", "--labels", "names.txt", "--batch", 1)
        for a, b in zip(plain["results"], named["results"]):
            self.assertEqual([f"name {label['class']}" for label in a["labels"]], [label["name"] for label in b["labels"]])
        self.assertEqual("names.txt", named["class_names"])
        other = self.labels("photos", "--preset", "imagenet-v2")
        self.assertEqual(232, other["preprocessing"]["resize"])
        self.assertNotEqual(plain["results"], other["results"])
        self.assertEqual(("custom", 240), tuple(self.labels("photos", "--resize", 240)["preprocessing"].values())[:2])

    def test_wrong_usage_is_said_before_anything_is_built(self):
        self.fails("classify", self.name, "absent", *FAKE, says="absent: there is no such file")
        self.fails("classify", self.name, "photos", *FAKE, "--preset", "v9", code=2, says="imagenet-v2")
        self.fails("classify", self.name, "photos", *FAKE, "--mean", "1,2", code=2, says="three numbers")
        self.fails("classify", self.name, "photos", *FAKE, "--format", "xml", code=2, says="jsonl")
        self.fails("classify", self.name, "photos", *FAKE, "--crop", 160, code=2, says="takes 224x224")
        self.fails("classify", self.name, "photos", *FAKE, "-o", "no/folder/x.csv", says="x.csv")

    def test_a_failing_engine_leaves_no_file(self):
        for entry in ("open_session", "staging", "submit", "wait"):
            self.fails("classify", self.name, "photos", *FAKE, "-o", "out.csv", env={"FERRY_FAKE_FAIL": entry}, says=entry)
            self.assertFalse((self.folder / "out.csv").exists(), entry)
            self.assertEqual([], self.left_behind(), entry)

    def test_interrupted_it_writes_what_is_done(self):
        (self.folder / "list.txt").write_text("photos/a.jpg\n" * 20000)
        process = self.start("classify", self.name, "@list.txt", *FAKE, "-o", "out.jsonl", "--decode-threads", "1", "--batch", "4")
        while not process.stderr.readline().startswith("classifying"):
            self.assertIsNone(process.poll())
        self.assertTrue(self.wait_for(lambda: any(p.stat().st_size > 0 for p in self.folder.glob("out.jsonl.*"))))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        self.assertEqual(130, process.returncode, err)
        self.assertRegex(err, "stopped before the end")
        lines = (self.folder / "out.jsonl").read_text().splitlines()
        self.assertTrue(0 < len(lines) < 20000 and all("labels" in json.loads(line) for line in lines))
        self.assertEqual([], self.left_behind())


if __name__ == "__main__":
    unittest.main()
