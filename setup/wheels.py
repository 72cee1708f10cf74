#!/usr/bin/env python3
"""Unpacks pinned wheels, merged, into one folder: their C++ headers and libraries are used, nothing is imported.

    wheels.py REQUIREMENTS --into DIR --pip PYTHON [--skip NAME]... [--plan]

`pip install --target` cannot do this: it does not merge packages that share a folder (nvidia/). Each wheel is downloaded
by pip, which checks its hash, unpacked beside its place and moved in; a list of its files is written last. So a run that
was cut off goes on with the wheel it was at, and a wheel that is there is not touched again.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

# What is taken of a wheel; everything for a wheel that is not here.
TAKE = {
    "openvino": ["openvino/cmake/*", "openvino/include/*", "openvino/libs/*", "*.dist-info/*"],
    "torch": ["torch/include/*", "torch/version.py", "torch/lib/libtorch_cpu.so", "torch/lib/libc10.so",
              "torch/lib/libgomp*.so*", "*.dist-info/licenses/*", "*.dist-info/METADATA"],
    "torch+gpu": ["torch/include/*", "torch/version.py", "torch/lib/*.so*", "*.dist-info/licenses/*",
                  "*.dist-info/METADATA"],
    # The compiler's own parts: headers, no libraries to link, and of cccl what cuda_fp16.h includes.
    "nvidia-cuda-nvcc+nvcc": ["nvidia/cu13/bin/nvcc*", "nvidia/cu13/bin/cudafe++", "nvidia/cu13/bin/ptxas",
                              "nvidia/cu13/bin/fatbinary", "nvidia/cu13/bin/crt/*", "nvidia/cu13/include/*", "*.dist-info/*"],
    "nvidia-cuda-runtime+nvcc": ["nvidia/cu13/include/*", "*.dist-info/*"],
    "nvidia-cuda-cccl+nvcc": ["nvidia/cu13/include/nv/*", "nvidia/cu13/include/cccl/nv/*", "*.dist-info/*"],
}
# The interpreter the pins were made for; the C++ parts do not depend on it.
TAGS = ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
TAGS += [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(12, 29)] + ["--platform=manylinux2014_x86_64"]


def read_requirements(path, skipped):
    """[(name, version, whole line)] of a requirements file."""
    wheels = []
    for line in Path(path).read_text().splitlines():
        match = re.match(r"([A-Za-z0-9_-]+)==(\S+) --hash=sha256:[0-9a-f]{64}\s*$", line)
        if match and match[1] not in skipped:
            wheels.append((match[1], match[2], line))
        elif not match and line.strip() and not line.startswith("#"):
            sys.exit(f"{path}: not 'name==version --hash=sha256:...': {line}")
    return wheels


def wanted(name, kind):
    return not name.endswith("/") and (kind not in TAKE or any(fnmatch(name, pattern) for pattern in TAKE[kind]))


def unpack(wheel, into, kind):
    """Extracts the wanted files; returns their names."""
    names = []
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not wanted(entry.filename, kind):
                continue
            target = Path(archive.extract(entry, into))
            if not target.resolve().is_relative_to(into.resolve()):
                sys.exit(f"{wheel.name}: {entry.filename} points outside the folder")
            if entry.external_attr >> 16 & 0o111:
                target.chmod(0o755)
            names.append(entry.filename)
    return names


def remove_old(stamps, into, name, keep):
    """Removes the files of another version of the same wheel."""
    for stamp in stamps.glob(f"{name}==*"):
        for file in set(stamp.read_text().splitlines()) - keep:
            (into / file).unlink(missing_ok=True)
        stamp.unlink()


def download(python, line, folder):
    folder.mkdir(parents=True, exist_ok=True)
    requirement = folder / "requirement.txt"
    requirement.write_text(line + "\n")
    command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
               "--retries=5", "--dest", str(folder), *TAGS, "-r", str(requirement)]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    found = list(folder.glob("*.whl"))
    if result.returncode != 0 or len(found) != 1:
        sys.exit(f"setup: could not download {line.split()[0]} (pip's message is above). What is there stays; run the same "
                 "command again when the network and the disk are fine")
    return found[0]


def merge(unpacked, names, into):
    for name in names:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(unpacked / name, target)


def install(wheel, into, python, flavour):
    name, version, line = wheel
    work = into.parent / f".unpack-{name}"
    shutil.rmtree(work, ignore_errors=True)
    stamps = into / ".installed"
    stamps.mkdir(parents=True, exist_ok=True)
    try:
        file = download(python, line, work / "download")
        kind = name + flavour if name + flavour in TAKE else name
        names = unpack(file, work / "files", kind)
        remove_old(stamps, into, name, set(names))
        merge(work / "files", names, into)
        half = work / "stamp"
        half.write_text("\n".join(names) + "\n")
        os.replace(half, stamps / f"{name}=={version}{flavour}")
    except OSError as error:
        sys.exit(f"setup: {name}: {error.strerror or error}: {error.filename or into}. Free some space there, or choose "
                 "another folder with FERRY_DEPS_DIR, and run the same command again")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements")
    parser.add_argument("--into", required=True, type=Path)
    parser.add_argument("--pip", help="a Python that has pip")
    parser.add_argument("--skip", action="append", default=[], help="names that are not needed here")
    parser.add_argument("--flavour", default="", choices=["", "+gpu", "+nvcc"])
    parser.add_argument("--plan", action="store_true", help="print what is missing, install nothing")
    arguments = parser.parse_args()
    stamps = arguments.into / ".installed"
    for wheel in read_requirements(arguments.requirements, arguments.skip):
        if (stamps / f"{wheel[0]}=={wheel[1]}{arguments.flavour}").exists():
            continue
        if arguments.plan:
            print(f"{wheel[0]}=={wheel[1]}")
            continue
        print(f"  {wheel[0]} {wheel[1]}", flush=True)
        install(wheel, arguments.into, arguments.pip, arguments.flavour)


if __name__ == "__main__":
    main()
