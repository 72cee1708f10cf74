#!/usr/bin/env python3
"""Where the time of an INT8 network goes, from what `ferry bench --layers --json FILE` wrote.

    bench/gpu/int8_layers.py FILE...

For each engine: its time, then kinds of layers with their number and sum (layers that do no products, such as an addition that was
not fused, are told apart), then the longest ones. MB is what a layer reads and writes.
"""
import collections
import json
import sys


def kind_of(layer):
    products = (layer["flops"] or 0) > 1e6
    pattern = "".join(c for c in layer["name"].rsplit("/", 1)[-1] if c.isalpha())[:40] if not products else ""
    return f"{layer['kind']} {layer['precision'] or ''}".strip() + (f" ({pattern})" if pattern else "")


def show(row):
    print(f"{row.get('model') or row['engine']}: batch {row['batch']}, {row['median_ms']:.4f} ms, "
          f"{1000 * row['batch'] / row['median_ms']:.0f} images/s")
    if not row.get("layers"):
        return
    layers = row["layers"]["layers"]
    print(f"  {len(layers)} layers, {sum(l['ms'] or 0 for l in layers):.3f} ms one by one")
    sums = collections.OrderedDict()
    for layer in layers:
        entry = sums.setdefault(kind_of(layer), [0, 0.0, 0.0])
        entry[0] += 1
        entry[1] += layer["ms"] or 0
        entry[2] += (layer["bytes"] or 0) / 1e6
    for kind, (count, ms, mb) in sorted(sums.items(), key=lambda item: -item[1][1])[:12]:
        print(f"  {ms:8.3f} ms {count:4d} x {kind}, {mb:.0f} MB")
    for layer in sorted(layers, key=lambda l: -(l["ms"] or 0))[:6]:
        print(f"    {layer['ms']:.4f} ms {(layer['bytes'] or 0) / 1e6:.0f} MB {layer['precision']} {layer['name'][:110]}"
              f" [{(layer['kernel'] or '')[:60]}]")


if len(sys.argv) < 2:
    sys.exit(__doc__)
for path in sys.argv[1:]:
    for row in json.load(open(path))["results"]:
        if row.get("failure"):
            print(f"{row.get('model')}: {row['failure']}")
        elif row["mode"] == "latency":
            show(row)
