"""Joins result files of several runs on one machine into one file of docs/results.schema.json, each row naming its run.

    merge_rows.py OUT.json NAME=FILE.json[,COMMAND,DATE] ...

FILE is what `ferry compare|bench --json` wrote, or serve.json of bench/gpu/serve_rows.py, which has neither command nor date:
these are given behind commas then. What a run did not measure is null. Numbers of different runs are not to be compared.
"""

import json
import re
import sys
from pathlib import Path

# Required of every row by docs/results.schema.json, with what stands for "not known" and "not compared".
EMPTY = {"engine": "", "backend": "", "precision": None, "device": "", "device_kind": "gpu", "batch": None, "mode": None,
         "timed": None, "runs": None, "median_ms": None, "p90_ms": None, "p99_ms": None, "mean_ms": None,
         "images_per_second": None, "host_median_ms": None, "ok": None, "relative_error": None, "cosine": None,
         "max_abs_error": None, "top1_agreement": None, "top5_overlap": None, "baseline": False, "speedup": None,
         "warnings": [], "failure": None}
BULKY = ("quantiles_ms", "telemetry", "layers")  # for a report; the row keeps its statistics


def backend_of(row):
    return row.get("backend") or ("plain loop" if row["engine"].startswith("TensorRT API") else "tensorrt")


def rows_of(name, document):
    gpus = document["machine"].get("gpus") or [{"name": ""}]
    for row in document["results"]:
        full = {"run": name, **EMPTY, "backend": backend_of(row), "device": gpus[0]["name"]}
        full.update({key: value for key, value in row.items() if key not in BULKY and value is not None})
        yield full


def main(out, *sources):
    runs, rows, machine, whole = [], [], {}, {}
    for source in sources:
        name, _, rest = source.partition("=")
        file, _, about = rest.partition(",")
        document = json.loads(Path(file).read_text())
        command, _, date = about.rpartition(",")
        typed = re.sub(r"(?<=[ =])/\S*/", "", document.get("command") or command)  # whose folders they were says nothing
        runs.append({"name": name, "command": typed,
                     "started_at": document.get("started_at") or date, "notes": document.get("notes", [])})
        machine = machine or document["machine"]
        if document["machine"].get("gpus") != machine.get("gpus"):
            sys.exit(f"{file} is of another machine than {sources[0]}")
        whole = whole or {key: document[key] for key in ("network", "origin", "random_weights", "inputs") if key in document}
        rows += rows_of(name, document)
    merged = {"format": "ferry results", "version": 1, "network": "", "origin": "", "random_weights": False, **whole,
              "machine": machine, "runs": runs, "results": rows, "notes": [
                  "Rows of one run were measured in turns; numbers of different runs are not to be compared."]}
    text = json.dumps(merged, indent=1, ensure_ascii=False)
    Path(out).write_text(text + "\n")
    print(f"{out}: {len(rows)} rows of {len(runs)} runs")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
