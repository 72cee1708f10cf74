#!/usr/bin/env python3
"""Which torch and numpy this Python has, without importing them: for `ferry doctor`. Same protocol as ferry_peers.py."""

import json
import sys
from importlib import metadata


def version_of(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def main():
    for _ in sys.stdin:
        answer = {"ok": True, "python": sys.version.split()[0], "executable": sys.executable,
                  "torch": version_of("torch"), "numpy": version_of("numpy")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
