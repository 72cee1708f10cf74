"""Installs ferry, compiles README's two examples against the installed package with find_package, and runs them.

    consumer_test.py SOURCE_DIR BUILD_DIR CXX_COMPILER
"""

import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SKIPPED = 77  # SKIP_RETURN_CODE of the test
sys.path.append(str(Path(__file__).resolve().parents[1] / "readme"))
import small_checkpoint  # noqa: E402

SOURCE, BUILD, COMPILER = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
WORK = BUILD / "tests/consumer/work"


def run(*command, ok=True, **options):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    if (result.returncode == 0) != ok:
        sys.exit(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def readme_examples():
    found = re.findall(r"<!-- compile -->\n```cpp\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
    assert len(found) == 2, "README.md has two C++ examples marked <!-- compile -->"
    for code in found:
        statements = [line for line in code.splitlines() if line.strip() and not line.startswith("#include")]
        assert len(statements) <= 10, f"README promises ten lines; these are {len(statements)}"
    return found


def write_npy(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}f", *values))


def read_npy(path):
    data = path.read_bytes()
    size, = struct.unpack_from("<H", data, 8)
    assert b"'<f4'" in data[10:10 + size], data[:10 + size]
    body = data[10 + size:]
    return struct.unpack(f"<{len(body) // 4}f", body)


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    prefix, project = WORK / "prefix", WORK / "project"
    run("cmake", "--install", BUILD, "--prefix", prefix)
    shutil.copytree(SOURCE / "tests/consumer/project", project)
    for file, code in zip(("main.cc", "photos.cc"), readme_examples()):
        (project / file).write_text(code)
    run("cmake", "-S", project, "-B", WORK / "build", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={COMPILER}",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
    run("cmake", "--build", WORK / "build")
    classify, ferry = WORK / "build/classify", prefix / "bin/ferry"

    env = {k: v for k, v in os.environ.items() if not k.startswith("FERRY_")} | {"XDG_CACHE_HOME": str(WORK / "cache")}
    model, image, scores = WORK / "net.onnx", WORK / "image.npy", WORK / "scores.npy"
    small_checkpoint.write(WORK / "net.pth")
    run(ferry, "export", WORK / "net.pth", "-o", model, env=env)
    generator = random.Random(7)
    write_npy(image, (1, 3, 224, 224), [generator.gauss(0, 1) for _ in range(3 * 224 * 224)])

    missing = run(classify, WORK / "absent.onnx", image, ok=False, env=env)
    assert "absent.onnx" in missing.stderr, missing.stderr
    if not list((prefix / "lib/ferry").glob("libferry_openvino.so")):
        print("skipped: no CPU engine was built here, so the example compiled but could not run (setup/install)")
        sys.exit(SKIPPED)
    run(ferry, "infer", model, "-i", image, "-o", scores, env=env)
    best = max(enumerate(read_npy(scores)), key=lambda pair: pair[1])[0]
    answer = run(classify, model, image, env=env).stdout
    assert answer == f"class {best}\n", f"README's example says {answer!r}, ferry infer says class {best}"
    photo = SOURCE / "tests/unit/image/data/baseline.jpg"
    labels = json.loads(run(ferry, "classify", model, photo, "--json", env=env).stdout)["results"][0]["labels"]
    answer = run(WORK / "build/photos", model, photo, env=env).stdout.splitlines()
    expected = [f"{photo}: {label['name']}" for label in labels]
    assert [line.rsplit(" ", 1)[0] for line in answer] == expected, f"{answer} is not {expected}"
    print(f"ok: {answer[0]}")


main()
