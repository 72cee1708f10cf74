"""Runs the commands that README.md shows, as they stand there, in an empty folder with a small checkpoint.

    readme_test.py SOURCE_DIR BUILD_DIR

Blocks marked <!-- run --> run everywhere; <!-- run: builds --> needs an engine that builds here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import small_checkpoint

SOURCE, BUILD = Path(sys.argv[1]), Path(sys.argv[2])
WORK = BUILD / "tests/readme/work"
ENV = {k: v for k, v in os.environ.items() if not k.startswith("FERRY_")}
ENV |= {"PATH": f"{BUILD / 'bin'}:{ENV['PATH']}", "XDG_CACHE_HOME": str(WORK / "cache"), "HOME": str(WORK / "home")}
# Seconds of measuring mean nothing for a tiny network: shorter than by default, otherwise the command is README's own.
SHORTER = {"ferry compare": " --runs 3 --seconds 0.05"}


def blocks():
    pattern = r"<!-- run(?:: (\w+))? -->\n```sh\n(.*?)```"
    return [(need, code.strip().splitlines()) for need, code in
            re.findall(pattern, (SOURCE / "README.md").read_text(), re.DOTALL)]


def shell(command):
    for beginning, more in SHORTER.items():
        if command.startswith(beginning):
            command += more
    return subprocess.run(["bash", "-c", command], cwd=WORK, env=ENV, capture_output=True, text=True, check=False)


def engines():
    return json.loads(shell("ferry doctor --json").stdout)["engines"]


def have(need):
    return need == "" or any(engine["builds"] and engine["can_build"] for engine in engines())


def check_promises_of_the_makefile():
    """README's make targets exist."""
    text = (SOURCE / "README.md").read_text()
    makefile = (SOURCE / "Makefile").read_text()
    for target in set(re.findall(r"\bmake (demo|test|dist|bench)\b", text)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"README names make {target}"


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "home").mkdir(parents=True)
    small_checkpoint.write(WORK / "resnet101.pth")
    check_promises_of_the_makefile()
    commands = 0
    assert blocks(), "README.md has no block marked <!-- run -->"
    for need, lines in blocks():
        if not have(need):
            print(f"left out, nothing here builds engines: {'; '.join(lines)}")
            continue
        for line in lines:
            result = shell(line)
            if result.returncode:
                sys.exit(f"README's '{line}': exit {result.returncode}\n{result.stdout}{result.stderr}")
            commands += 1
    print(f"ok: {commands} commands of README.md")


main()
