"""Holds the tree to its own rules (HACKING.md). Standard library only; sizes need lizard, which `make test` installs.

    layout_test.py SOURCE_DIR BUILD_DIR [unittest arguments]
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(sys.argv[1]).resolve()
BUILD = Path(sys.argv[2]).resolve()

# Code that names a vendor belongs into backends/. What the core and the tool may still say, and why.
VENDOR = re.compile(r"tensorrt|nvinfer|nvonnx|nvidia|cuda|cudnn|cublas|nvml|libtorch|openvino", re.IGNORECASE)
VENDOR_ALLOWED = {
    # file (or "*"): {pattern of the line: reason}
    "*": {r'(\.|")cuda\b': "Device::cuda, the CUDA version of the driver, as results name it"},
}
VENDOR_SYMBOL = re.compile(r"nvinfer1::|nvonnxparser::|\bat::|\bc10::|\btorch::|\bov::|\bcuda[A-Z]\w+$|\bcu[A-Z]\w+$|nvml[A-Z]")
VENDOR_LIBRARY = re.compile(r"cuda|cudart|nvinfer|tensorrt|torch|c10|openvino|tbb|nvjpeg|nvidia-ml")
MAX_FILE, MAX_FUNCTION, MAX_COMPLEXITY = 400, 60, 20  # hard limits; aim: 40 lines, complexity 10


def tracked(*patterns):
    """Files that git knows or would add; in a tree without git, every file outside build folders."""
    command = ["git", "-C", str(SOURCE), "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        names = listing.stdout.split("\0")
    else:
        names = [str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*") if not re.match(r"\.|build|dist", str(p.relative_to(SOURCE)))]
        names = [n for n in names if not patterns or any(Path(n).match(p) for p in patterns)]
    return sorted(SOURCE / n for n in names if n and (SOURCE / n).is_file())


def name(path):
    return str(path.relative_to(SOURCE))


def code_only(text):
    """C++ text without comments; line breaks stay, so that line numbers hold."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return pattern.sub(lambda m: m[0] if m[0][0] == '"' else "\n" * m[0].count("\n"), text)


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Layout(unittest.TestCase):
    maxDiff = None

    def none(self, problems, rule):
        if problems:
            self.fail(rule + ":\n  " + "\n  ".join(problems))

    def test_public_headers_compile_alone(self):
        headers = tracked("include/ferry/*.h")
        self.assertGreater(len(headers), 5)
        compiler = os.environ.get("CXX", "c++")
        flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", str(SOURCE / "include")]

        def compile_alone(header):
            with tempfile.TemporaryDirectory() as folder:
                unit = Path(folder) / "alone.cc"
                unit.write_text(f'#include "ferry/{header.name}"\n#include "ferry/{header.name}"\n')
                return subprocess.run([compiler, *flags, str(unit)], capture_output=True, text=True, check=False)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(compile_alone, headers))
        self.none([f"{name(h)}\n{r.stderr}" for h, r in zip(headers, results) if r.returncode], "header is not self-contained")

    def test_public_headers_name_only_the_standard_library(self):
        problems = []
        for header in tracked("include/ferry/*.h"):
            for included in re.findall(r"^#include (.*)$", code_only(header.read_text()), re.MULTILINE):
                if not re.fullmatch(r'"ferry/\w+\.h"|<[a-z_]+>', included.strip()):
                    problems.append(f"{name(header)}: {included}")
        self.none(problems, "public headers include ferry/ and the standard library only")

    def test_includes_point_one_way(self):
        """tool -> include/ferry -> src -> backend_abi.h <- backends"""
        own = {area: {p.name for p in tracked(f"{area}/*.h")} for area in ("tool",)}
        inside_src = {str(p.relative_to(SOURCE / "src")) for p in tracked("src/*.h")}
        problems = []
        for path in tracked("src/*.cc", "src/*.h", "tool/*.cc", "tool/*.h", "backends/*.cc", "backends/*.h", "backends/*.cpp"):
            area = path.relative_to(SOURCE).parts[0]
            for target in re.findall(r'^#include "(.*)"', code_only(path.read_text()), re.MULTILINE):
                public = target.startswith("ferry/")
                good = {
                    "tool": public or target in own["tool"],
                    "src": public or target in inside_src or target == "backend_abi.h",
                    "backends": not public and (SOURCE / "backends" / target).exists() or (path.parent / target).exists(),
                }[area]
                if not good:
                    problems.append(f'{name(path)}: "{target}"')
        self.none(problems, "includes go tool -> include/ferry -> src -> backend_abi.h <- backends")

    def test_core_and_tool_name_no_vendor(self):
        problems = []
        for path in tracked("src/*.cc", "src/*.h", "tool/*.cc", "tool/*.h"):
            allowed = VENDOR_ALLOWED["*"] | VENDOR_ALLOWED.get(name(path), {})
            for number, line in enumerate(code_only(path.read_text()).splitlines(), 1):
                for word in VENDOR.findall(line):
                    if not any(re.search(pattern, line) for pattern in allowed):
                        problems.append(f"{name(path)}:{number}: {word}: {line.strip()}")
        self.none(problems, "a vendor is named outside backends/")

    def test_vendor_exceptions_are_needed(self):
        def needed(file, pattern):
            files = tracked("src/*.cc", "tool/*.cc") if file == "*" else [SOURCE / file]
            return any(f.exists() and re.search(pattern, f.read_text()) for f in files)

        unused = [f"{file}: {pattern}" for file, patterns in VENDOR_ALLOWED.items() for pattern in patterns
                  if not needed(file, pattern)]
        self.none(unused, "remove exceptions that nothing needs")

    def test_core_links_no_vendor(self):
        problems = []
        for program in (BUILD / "bin/ferry", BUILD / "lib/libferry.so"):
            needed = re.findall(r"NEEDED.*\[(.*)\]", output_of("readelf", "-d", str(program)))
            self.assertTrue(needed, program)
            problems += [f"{program.name} needs {library}" for library in needed if VENDOR_LIBRARY.search(library)]
        archive = next(BUILD.rglob("libferry_core.a"))
        for line in output_of("nm", "-C", "--undefined-only", str(archive)).splitlines():
            if VENDOR_SYMBOL.search(line):
                problems.append(f"{archive.name}: {line.strip()}")
        self.none(problems, "the core must not link a vendor's library")

    def test_library_exports_only_ferry(self):
        exported = output_of("nm", "-DC", "--defined-only", str(BUILD / "lib/libferry.so")).splitlines()
        self.assertGreater(len(exported), 50)
        ours = re.compile(r"^\w+ \w (non-virtual thunk to |typeinfo for |typeinfo name for |vtable for )?ferry::")
        self.none([line for line in exported if not ours.match(line)], "libferry.so exports more than ferry::")

    def test_every_test_is_run(self):
        files = [Path(c["directory"], c["file"]).resolve() for c in json.loads((BUILD / "compile_commands.json").read_text())]
        compiled = {str(f) for f in files}
        for unity in (f for f in files if f.parent.name == "Unity"):  # CMake's own list of sources compiled together
            compiled.update(re.findall(r'^#include "(.+)"$', unity.read_text(), re.M))
        problems = [f"{name(p)} is in no target" for p in tracked("*_test.cc") if str(p) not in compiled]
        known = output_of("ctest", "--test-dir", str(BUILD), "--show-only=json-v1")
        problems += [f"{name(p)} is in no test of CTest" for p in tracked("tests/*_test.py", "tests/*_test.sh") if name(p) not in known]
        self.none(problems, "a test that nobody runs is not a test")

    def test_files_are_short(self):
        problems = []
        for path in tracked("*.cc", "*.h", "*.cpp", "*.cu", "*.py", "*.sh", "setup/*"):
            if path.suffix == ".txt" or (path.suffix == ".h" and path.name == "backend_abi.h"):
                continue
            lines = path.read_bytes().count(b"\n")
            if lines > MAX_FILE:
                problems.append(f"{name(path)}: {lines} lines")
        self.none(problems, f"files have at most {MAX_FILE} lines")

    def test_functions_are_short(self):
        try:
            import lizard
        except ImportError:
            self.skipTest("lizard is not in this Python; `setup/install --tests` installs it")
        problems = []
        for path in tracked("*.cc", "*.h", "*.cpp", "*.cu"):
            for function in lizard.analyze_file(str(path)).function_list:
                table = function.cyclomatic_complexity == 1  # no branch: a list of values, however long
                if function.length > MAX_FUNCTION and not table or function.cyclomatic_complexity > MAX_COMPLEXITY:
                    problems.append(f"{name(path)}:{function.start_line}: {function.name}: {function.length} lines, "
                                    f"complexity {function.cyclomatic_complexity}")
        self.none(problems, f"functions have at most {MAX_FUNCTION} lines and complexity {MAX_COMPLEXITY}")

    def test_no_registry_and_no_machine_path(self):
        hosts = ["pypi" + r"\.\w+", "pythonhosted" + r"\.", "crates" + r"\.io", "deb\\." + "debian", "archive\\." + "ubuntu",
                 "repo1?\\." + "maven", "registry" + r"\.npmjs", "--(extra-)?index" + "-url", "--find" + "-links"]
        places = ["/wo" + "rk/", "/ho" + r"me/\w+/", "/ro" + r"ot/\w"]
        forbidden = re.compile("|".join(hosts + places))
        problems = []
        for path in tracked():
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            for number, line in enumerate(text.splitlines(), 1):
                if forbidden.search(line):
                    problems.append(f"{name(path)}:{number}: {line.strip()[:100]}")
        self.none(problems, "no registry's host and no path of one machine in the tree")

    def test_shell_scripts_are_clean(self):
        scripts = [p for p in tracked() if p.suffix == ".sh" or p.read_bytes()[:64].split(b"\n")[0] in
                   (b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh")]
        self.assertTrue(scripts)
        problems = []
        for script in scripts:
            parsed = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
            problems += [parsed.stderr] if parsed.returncode else []
        if shutil.which("shellcheck"):
            programs = [str(s) for s in scripts if os.access(s, os.X_OK)]  # what they source is checked with them
            checked = subprocess.run(["shellcheck", "-x", *programs], capture_output=True, text=True, check=False, cwd=SOURCE)
            problems += [checked.stdout] if checked.returncode else []
        self.none(problems, "shell scripts")

    def test_links_in_documents_lead_somewhere(self):
        problems = []
        for page in tracked("*.md"):
            text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"https?://|mailto:", target):
                    continue
                file, _, anchor = target.partition("#")
                linked = (page.parent / file) if file else page
                if not linked.exists():
                    problems.append(f"{name(page)}: {target}")
                elif anchor and linked.suffix == ".md" and anchor not in anchors(linked):
                    problems.append(f"{name(page)}: {target}: no such heading")
        self.none(problems, "dead links")


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
