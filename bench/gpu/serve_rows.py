"""Joins what bench/gpu/serve left in a folder: OUT/serve.json (machine, results) and the ratios that issue 4 asks for.

    serve_rows.py OUT
"""

import json
import statistics
import sys
from pathlib import Path

KEYS = ("engine", "precision", "batch", "mode", "timed", "sessions", "median_ms", "p99_ms", "images_per_second",
        "host_median_ms", "host_p99_ms", "share_of_device", "relative_error", "top1_agreement")
OUT = Path(sys.argv[1])


def results(pattern):
    """Rows of ferry's files, file by file."""
    return [row for path in sorted(OUT.glob(pattern)) for row in json.loads(path.read_text())["results"] if not row["failure"]]


def median_of_rounds(rows, *keys):
    """One row for each distinct value of `keys`: medians of its numbers over the rounds."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    for group in groups.values():
        merged = dict(group[0])
        for key, value in merged.items():
            numbers = [row[key] for row in group if isinstance(row.get(key), float)]
            if isinstance(value, float):
                merged[key] = statistics.median(numbers)
        yield merged


def plain_rows():
    rows = [row for path in sorted(OUT.glob("plain.*.json")) for row in json.loads(path.read_text())]
    for row in median_of_rounds(rows, "way", "batch"):
        yield {"engine": f"TensorRT API, {row['way']}", "precision": "fp16", "batch": row["batch"], "mode": "latency",
               "timed": "device compute" if row["way"] == "device" else "host in to host out", "sessions": 1,
               "median_ms": row["median_ms"], "p99_ms": row["p99_ms"],
               "images_per_second": 1000 * row["batch"] / row["median_ms"]}


def print_dedicated():
    """What the engine with five profiles costs against one made for a single batch size."""
    if not list(OUT.glob("build-*.json")):
        return
    print("\nengine            plan MB   build s   batch  device ms")
    everything = {"five profiles": OUT / "build.json"} | {f"only {p.stem[6:]}": p for p in sorted(OUT.glob("build-*.json"))}
    times = {}
    for path in sorted(OUT.glob("dedicated-*.json")):
        five, one = json.loads(path.read_text())["results"]
        times.setdefault("five profiles", []).append((five["batch"], five["median_ms"]))
        times.setdefault(f"only {one['batch']}", []).append((one["batch"], one["median_ms"]))
    for name, path in everything.items():
        if not path.exists():
            continue
        built = json.loads(path.read_text())
        size = Path(built["plan"]).stat().st_size / 1e6 if Path(built["plan"]).exists() else 0
        for batch, ms in times.get(name, []):
            print(f"{name:16}  {size:7.1f}  {built['sidecar']['build_seconds']:8.1f}  {batch:6}  {ms:9.4f}")


def main():
    latency = list(median_of_rounds(results("latency.*.json"), "batch"))
    plain = list(plain_rows())
    load = results("load.json")
    compared = {(row["engine"], row["precision"], row["batch"], row["mode"]): row for row in results("compare-serve.json")}
    rows = []
    for row in latency + load + plain:
        twin = compared.get((row["engine"], row["precision"], row["batch"], row["mode"]), {})
        for key in ("relative_error", "top1_agreement"):  # bench compares nothing; compare ran the same engine
            row.setdefault(key, twin.get(key))
        rows.append({key: row.get(key) for key in KEYS})
    seen = {(row["engine"], row["precision"], row["batch"], row["mode"]) for row in rows}
    rows += [{key: row.get(key) for key in KEYS} for name, row in compared.items() if name not in seen]
    machines = [json.loads(path.read_text())["machine"] for path in sorted(OUT.glob("*.json"))
                if path.name.startswith(("latency", "load", "compare"))]
    (OUT / "serve.json").write_text(json.dumps({"machine": machines[0] if machines else {}, "results": rows}, indent=1) + "\n")

    way = {(row["engine"].rsplit(" ", 1)[1], row["batch"]): row["median_ms"] for row in plain}
    print("batch  device ferry/raw ms     host ferry/plain ms    ratio   throughput  of device  end-to-end  of device")
    for row in latency:
        batch = row["batch"]
        by_mode = {r["mode"]: r for r in load if r["batch"] == batch}
        device, loop = way.get(("device", batch)), way.get(("plain", batch))
        line = f"{batch:5}  {row['median_ms']:8.4f} / {device or 0:8.4f}   {row['host_median_ms']:9.4f} / {loop or 0:9.4f}"
        line += f"  {row['host_median_ms'] / loop:6.3f}" if loop else "       -"
        for mode in ("throughput", "end-to-end"):
            r = by_mode.get(mode)
            line += f"  {r['images_per_second']:10.0f} {100 * (r['share_of_device'] or 0):8.1f} %" if r else "           -        -"
        print(line)


main()
print_dedicated()
