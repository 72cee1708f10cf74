"""Joins what bench/gpu/rows left in a folder: OUT/rows.json (docs/results.schema.json) and issue 4's table with its goals.

    rows.py OUT
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OUT = Path(sys.argv[1])
HERE = Path(__file__).resolve().parent


def load(name):
    path = OUT / name
    return json.loads(path.read_text()) if path.exists() and path.stat().st_size else None


def rounds(stem):
    return [document for document in (load(f"{stem}.{n}.json") for n in (1, 2, 3)) if document]


def median_rows(documents, *keys):
    """One row for each distinct value of `keys`: the medians of its numbers over the rounds."""
    groups = {}
    for document in documents:
        for row in document["results"] if isinstance(document, dict) else document:
            if not row.get("failure"):
                groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    for group in groups.values():
        merged = dict(group[0])
        for key, value in group[0].items():
            if isinstance(value, float):
                merged[key] = statistics.median(row[key] for row in group if isinstance(row.get(key), float))
        yield merged


def plain_row(row):
    return {"engine": f"TensorRT API, {row['way']}", "backend": "plain loop", "precision": "fp16", "batch": row["batch"],
            "mode": "latency", "timed": "device compute" if row["way"] == "device" else "host in to host out",
            "runs": row["runs"], "sessions": 1, "median_ms": row["median_ms"], "p99_ms": row["p99_ms"],
            "images_per_second": 1000 * row["batch"] / row["median_ms"]}


def set_rows(built):
    """What `ferry build --backend auto` measured of each engine before it chose."""
    for m in built["set"]["measured"]:
        yield {"engine": m["engine"], "backend": m["backend"], "precision": "fp16", "batch": m["batch"], "mode": "latency",
               "timed": m["timed"], "median_ms": m["median_ms"], "p99_ms": m["p99_ms"], "sessions": 1,
               "images_per_second": 1000 * m["batch"] / m["median_ms"]}


def with_agreement(rows, compared):
    """The plan's rows get what `compare --plan` found of the same plan at that batch."""
    found = {row["batch"]: row for row in compared if row["backend"] == "tensorrt"}
    for row in rows:
        for key in ("ok", "relative_error", "top1_agreement"):
            if row.get("backend") == "tensorrt" and row.get(key) is None and row["batch"] in found:
                row[key] = found[row["batch"]].get(key)
    return rows


def write(sources):
    """Through merge_rows.py: `sources` are (run, document with the rows to keep)."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = []
        for name, document in sources:
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(document))
            arguments.append(f"{name}={path}")
        subprocess.run([sys.executable, str(HERE / "merge_rows.py"), str(OUT / "rows.json"), *arguments], check=True)


def goal(name, value, limit, least=False, unit="", digits=3):
    if value is None:
        print(f"{name:58} not measured")
        return
    met = value >= limit if least else value <= limit
    sign = ">=" if least else "<="
    print(f"{name:58} {value:10.{digits}f} {unit:9} goal {sign} {limit:g}: {'met' if met else 'MISSED'}")


def print_set(rows, plain):
    """A plan set's rows beside the plain loop over TensorRT's plan."""
    way = {row["batch"]: row["median_ms"] for row in plain if row["way"] == "plain"}
    for row in rows:
        ratio = f", {row['host_median_ms'] / way[row['batch']]:.3f} of the plain loop" if row["batch"] in way else ""
        print(f"plan set, batch {row['batch']:3}: {row['engine']}: device {row['median_ms']:8.4f} ms, "
              f"host {row['host_median_ms']:8.4f} ms{ratio}")


def print_goals(latency, quick_off, plain, loaded, compared, opened):
    ms = {row["batch"]: row for row in latency}
    way = {(row["way"], row["batch"]): row["median_ms"] for row in plain}
    device = {batch: row["median_ms"] for batch, row in ms.items()}
    for batch in sorted(ms):
        raw = way.get(("device", batch))
        if raw:
            print(f"batch {batch:3}: device {device[batch]:8.4f} ms, raw API {raw:8.4f} ms; host {ms[batch]['host_median_ms']:8.4f} ms, "
                  f"plain loop {way['plain', batch]:8.4f} ms, ratio {ms[batch]['host_median_ms'] / way['plain', batch]:.3f}")
    for batch, row in {row["batch"]: row for row in quick_off}.items():
        print(f"batch {batch:3}: host {row['host_median_ms']:8.4f} ms with --no-quick")
    ratio = ms[1]["host_median_ms"] / way["plain", 1] if 1 in ms and ("plain", 1) in way else None
    share = {row["batch"]: row["share_of_device"] for row in loaded if row["mode"] == "throughput"}
    peer = {(row["engine"], row["batch"]): row["median_ms"] for row in compared if not row["failure"]}
    own = {row["batch"]: row["median_ms"] for row in compared if row["backend"] == "tensorrt" and not row["failure"]}

    def times(engine, batch):
        return peer[engine, batch] / own[batch] if (engine, batch) in peer and batch in own else None

    print()
    goal("batch 1, device", device.get(1), 0.60, unit="ms")
    goal("batch 1, host array to host array, of the plain loop", ratio, 0.75)
    goal("batch 8, device", device.get(8), 0.79, unit="ms")
    goal("batch 32, device", device.get(32), 1.72, unit="ms")
    goal("batch 256, device", 256e3 / device[256] if 256 in device else None, 25000, True, "images/s", 0)
    goal("throughput at 128 with transfers, of device only", share.get(128), 0.97, True)
    goal("throughput at 256 with transfers, of device only", share.get(256), 0.97, True)
    goal("against PyTorch eager FP32, batch 1", times("PyTorch eager", 1), 8.5, True, "x", 2)
    goal("against PyTorch FP16 channels-last CUDA graph, batch 1", times("PyTorch CUDA graph", 1), 3.0, True, "x", 2)
    goal("against PyTorch FP16 channels-last CUDA graph, batch 256", times("PyTorch CUDA graph", 256), 2.6, True, "x", 2)
    goal("open to first result, warm file cache", statistics.median(opened[1:]) if len(opened) > 1 else None, 0.35, unit="s")


def main():
    latency = list(median_rows(rounds("latency"), "batch"))
    quick_off = list(median_rows(rounds("no-quick"), "batch"))
    plain = list(median_rows(rounds("plain"), "way", "batch"))
    documents = [(name, load(f"{name}.json")) for name in ("load", "end", "layers", "peers", "set-bench")]
    documents = [(name, document) for name, document in documents if document]
    by_name = dict(documents)
    compared = by_name.get("peers", {}).get("results", [])
    loaded = by_name.get("load", {}).get("results", []) + by_name.get("end", {}).get("results", [])
    sources = []
    if rounds("latency"):
        whole = rounds("latency")[0]
        whole["command"] = "bench/gpu/rows DIST CHECKPOINT OUT latency (medians of three rounds, in turns with the plain loop)"
        sources.append(("latency", {**whole, "results": with_agreement(latency, compared) + [plain_row(r) for r in plain]}))
        if quick_off:
            sources.append(("no-quick", {**rounds("no-quick")[0], "results": quick_off}))
    for name, document in documents:
        if name != "layers":
            sources.append((name, {**document, "results": [row for row in document["results"] if not row["failure"]]}))
    plan = load("build.json")
    if plan:  # the plan's name says nothing
        origin = plan["sidecar"]["origin"]
        sources = [(name, {**one, "origin": origin, "network": Path(origin).stem}) for name, one in sources]
    built = load("set.json")
    if built and sources:
        sources.append(("set", {**sources[0][1], "command": "bench/gpu/rows DIST CHECKPOINT OUT set: ferry build --backend auto",
                                "started_at": built["set"]["built_at"], "notes": built["set"]["left_out"],
                                "results": list(set_rows(built))}))
    if not sources:
        sys.exit(f"{OUT} has no results yet")
    write(sources)
    text = (OUT / "open.txt").read_text() if (OUT / "open.txt").exists() else ""
    opened = [float(ms) / 1000 for ms in re.findall(r"first result (\d+) ms", text)]
    print_set([row for row in by_name.get("set-bench", {}).get("results", []) if not row["failure"]], plain)
    print_goals(latency, quick_off, plain, loaded, compared, opened)


main()
