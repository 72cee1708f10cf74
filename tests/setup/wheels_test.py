"""setup/wheels.py against small wheels and a pip that is told what to do."""

import hashlib
import stat
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "setup/wheels.py"

# Stands for `python -m pip download ...`: copies the wheel of the wanted name and version, or fails.
PIP = """#!/usr/bin/env python3
import pathlib, shutil, sys
arguments = sys.argv[1:]
store = pathlib.Path(__file__).parent
wanted = pathlib.Path(arguments[arguments.index("-r") + 1]).read_text().split()[0].replace("-", "_").replace("==", "-")
with open(store / "calls", "a") as calls:
    calls.write(wanted + "\\n")
if (store / "broken").exists():
    sys.exit("no network")
shutil.copy(store / (wanted + "-py3-none-any.whl"), arguments[arguments.index("--dest") + 1])
"""


class Wheels(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.into = self.root / "wheels"
        self.pip = self.root / "pip"
        self.pip.write_text(PIP)
        self.pip.chmod(0o755)
        self.requirements = self.root / "requirements.txt"

    def wheel(self, name, version, files):
        path = self.root / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file, (text, mode) in files.items():
                entry = zipfile.ZipInfo(file)
                entry.external_attr = mode << 16
                archive.writestr(entry, text)
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    def run_script(self, *more):
        return subprocess.run([sys.executable, str(SCRIPT), str(self.requirements), "--into", str(self.into), "--pip", str(self.pip),
                               *more], capture_output=True, text=True, check=False)

    def calls(self):
        path = self.root / "calls"
        return path.read_text().split() if path.exists() else []

    def test_merges_a_shared_folder_and_keeps_modes(self):
        self.requirements.write_text(
            self.wheel("nv-a", "1", {"nvidia/cu/a.h": ("a", 0o644), "nvidia/cu/tool": ("x", 0o755)}) +
            self.wheel("nv-b", "1", {"nvidia/cu/b.h": ("b", 0o644)}))
        result = self.run_script()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(p.name for p in (self.into / "nvidia/cu").iterdir()), ["a.h", "b.h", "tool"])
        self.assertTrue((self.into / "nvidia/cu/tool").stat().st_mode & stat.S_IXUSR)
        self.assertFalse((self.into / "nvidia/cu/a.h").stat().st_mode & stat.S_IXUSR)

    def test_does_nothing_the_second_time(self):
        self.requirements.write_text(self.wheel("nv-a", "1", {"a.h": ("a", 0o644)}))
        self.run_script()
        self.assertEqual(self.run_script("--plan").stdout, "")
        self.run_script()
        self.assertEqual(len(self.calls()), 1)

    def test_takes_only_what_is_used_of_torch(self):
        self.requirements.write_text(self.wheel("torch", "1", {
            "torch/include/x.h": ("x", 0o644), "torch/lib/libtorch_cpu.so": ("x", 0o755),
            "torch/lib/libtorch_cuda.so": ("x", 0o755), "torch/nn/modules.py": ("x", 0o644)}))
        self.run_script()
        found = sorted(str(p.relative_to(self.into)) for p in self.into.rglob("*") if p.is_file() and ".installed" not in str(p))
        self.assertEqual(found, ["torch/include/x.h", "torch/lib/libtorch_cpu.so"])

    def test_a_new_version_replaces_the_old_files(self):
        self.requirements.write_text(self.wheel("nv-a", "1", {"lib/liba.so.1": ("1", 0o755), "a.h": ("1", 0o644)}))
        self.run_script()
        self.requirements.write_text(self.wheel("nv-a", "2", {"lib/liba.so.2": ("2", 0o755), "a.h": ("2", 0o644)}))
        self.run_script()
        self.assertEqual([p.name for p in (self.into / "lib").iterdir()], ["liba.so.2"])
        self.assertEqual((self.into / "a.h").read_text(), "2")

    def test_goes_on_after_a_failure(self):
        self.requirements.write_text(self.wheel("nv-a", "1", {"a.h": ("a", 0o644)}))
        (self.root / "broken").touch()
        result = self.run_script()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("could not download nv-a==1", result.stderr)
        self.assertIn("run the same command again", result.stderr)
        self.assertEqual(self.run_script("--plan").stdout, "nv-a==1\n")
        self.assertEqual([p.name for p in self.root.iterdir() if p.name.startswith(".unpack")], [])
        (self.root / "broken").unlink()
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual((self.into / "a.h").read_text(), "a")

    def test_a_requirement_without_hash_is_refused(self):
        self.requirements.write_text("nv-a==1\n")
        result = self.run_script()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("--hash=sha256", result.stderr)
        self.assertEqual(self.calls(), [])

    def test_every_pin_of_ferry_is_exact_and_hashed(self):
        for name in ("requirements.txt", "requirements-gpu.txt"):
            result = subprocess.run([sys.executable, str(SCRIPT), str(SCRIPT.parent / name), "--into", str(self.into), "--plan"],
                                    capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("torch==", result.stdout)


if __name__ == "__main__":
    unittest.main()
