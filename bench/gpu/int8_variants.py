#!/usr/bin/env python3
"""The same INT8 network written in other ways, to see which one TensorRT fuses best.

    bench/gpu/int8_variants.py INT8.onnx OUT [NAME...]        # NAME: those of VARIANTS, or several joined by '+'; default: all

INT8.onnx is what `ferry quantize` wrote. Needs Python with onnx and numpy, nothing else. Files in OUT: NAME.onnx.

    base      the file as it is
    swap      a residual addition reads its other branch first, the convolution second
    split     each reader of a quantised activation has a QuantizeLinear and DequantizeLinear of its own
    splitdq   each reader has a DequantizeLinear of its own; QuantizeLinear is shared
    nodown    the output of a downsampling convolution is not quantised: it is added as float
    both      the convolution in front of an addition is quantised too (its scale: that of the sum, a guess)
    wq        weights are float32 constants with QuantizeLinear in front of DequantizeLinear
    pool      the input of the average pool is quantised (its scale: a guess)
    half      FP16 instead of FP32 between quantised tensors (opset 19: DequantizeLinear gives FP16)
    int8in    the graph's input is int8: what the first QuantizeLinear would have given
    early     what the global average gives is quantised in front of Flatten, not behind it
    nosub     no constant is subtracted from what the global average gives
    convfc    the classifier is a 1x1 convolution (goes with early)

Scales that are guessed are good enough for time, not for accuracy.
"""
import sys
import pathlib

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto


class Graph:
    """Readers and writers of each value; initialisers by name."""

    def __init__(self, model):
        self.model, self.graph = model, model.graph
        self.index()

    def index(self):
        self.writer = {o: n for n in self.graph.node for o in n.output}
        self.readers = {}
        for node in self.graph.node:
            for i, value in enumerate(node.input):
                self.readers.setdefault(value, []).append((node, i))
        self.constants = {t.name: t for t in self.graph.initializer}

    def add(self, array, name):
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        self.constants[name] = self.graph.initializer[-1]

    def insert_before(self, anchor, nodes):
        at = next(i for i, n in enumerate(self.graph.node) if n is anchor or n == anchor)
        for node in reversed(nodes):
            self.graph.node.insert(at, node)

    def of(self, op):
        return [n for n in self.graph.node if n.op_type == op]

    def weight_dq(self, node):
        return node.op_type == "DequantizeLinear" and node.input[0] in self.constants

    def scale(self, node):
        return float(numpy_helper.to_array(self.constants[node.input[1]]))


def pair(g, value, scale, stem):
    """A new Q/DQ behind `value`; its nodes and what to read."""
    g.add(np.float32(scale), stem + "_scale")
    g.add(np.int8(0), stem + "_zero")
    nodes = [helper.make_node("QuantizeLinear", [value, stem + "_scale", stem + "_zero"], [stem + "_q"], stem + "/quantize"),
             helper.make_node("DequantizeLinear", [stem + "_q", stem + "_scale", stem + "_zero"], [stem + "_dq"],
                              stem + "/dequantize")]
    return nodes, stem + "_dq"


def residual_adds(g):
    """Additions of a convolution and a dequantised branch: (addition, input of the convolution, of the branch)."""
    found = []
    for add in g.of("Add"):
        kinds = [g.writer[v].op_type if v in g.writer else "" for v in add.input]
        if sorted(kinds) == ["Conv", "DequantizeLinear"]:
            conv = kinds.index("Conv")
            found.append((add, conv, 1 - conv))
    return found


def swap(g):
    for add, conv, other in residual_adds(g):
        if conv == 0:
            add.input[0], add.input[1] = add.input[1], add.input[0]


def split(g, whole=True):
    for dq in [n for n in g.of("DequantizeLinear") if not g.weight_dq(n)]:
        q = g.writer[dq.input[0]]
        for k, (reader, i) in enumerate(g.readers.get(dq.output[0], [])[1:]):
            stem = f"{dq.output[0]}_{k + 1}"
            copies = []
            if whole:
                copies.append(helper.make_node("QuantizeLinear", list(q.input), [stem + "_q"], stem + "/quantize"))
            copies.append(helper.make_node("DequantizeLinear", [stem + "_q" if whole else q.output[0], *dq.input[1:]],
                                           [stem + "_dq"], stem + "/dequantize"))
            reader.input[i] = stem + "_dq"
            g.insert_before(reader, copies)


def nodown(g):
    for add, _, other in residual_adds(g):
        dq = g.writer[add.input[other]]
        q = g.writer[dq.input[0]]
        if q.input[0] in g.writer and g.writer[q.input[0]].op_type == "Conv":
            add.input[other] = q.input[0]
            g.graph.node.remove(dq)
            g.graph.node.remove(q)


def both(g):
    for add, conv, other in residual_adds(g):
        nodes, value = pair(g, add.input[conv], g.scale(g.writer[add.input[other]]), add.input[conv] + "_sum")
        g.insert_before(add, nodes)
        add.input[conv] = value


def wq(g):
    for dq in [n for n in g.of("DequantizeLinear") if g.weight_dq(n)]:
        int8, scale = (numpy_helper.to_array(g.constants[name]) for name in dq.input[:2])
        axis = next((a.i for a in dq.attribute if a.name == "axis"), 1)
        shape = [-1 if d == axis else 1 for d in range(int8.ndim)]
        g.add(int8.astype(np.float32) * scale.reshape(shape), dq.input[0] + "_float")
        q = helper.make_node("QuantizeLinear", [dq.input[0] + "_float", *dq.input[1:]], [dq.input[0] + "_q"], axis=axis)
        g.graph.initializer.remove(g.constants[dq.input[0]])
        g.insert_before(dq, [q])
        dq.input[0] = dq.input[0] + "_q"


def pool(g):
    for node in g.of("GlobalAveragePool"):
        reader = next((r for r, _ in g.readers[node.output[0]]), None)
        while reader is not None and reader.op_type in ("Flatten", "Reshape"):
            reader = g.readers[reader.output[0]][0][0]
        known = g.scale(reader) if reader is not None and reader.op_type == "QuantizeLinear" else 0.05
        nodes, value = pair(g, node.input[0], 4 * known, node.input[0] + "_pooled")
        g.insert_before(node, nodes)
        node.input[0] = value


def half(g):
    """FP16 everywhere between Q and DQ; the input is quantised as FP32 before, the output is cast back."""
    g.model.opset_import[0].version = 19
    done = {}

    def to_half(name):
        if name not in done:
            array = numpy_helper.to_array(g.constants[name])
            if array.dtype != np.float32:
                return name
            g.add(array.astype(np.float16), name + "_half")
            done[name] = name + "_half"
        return done[name]

    inputs = {i.name for i in g.graph.input}
    for node in g.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in inputs:
            continue
        for i, value in enumerate(node.input):
            if value in g.constants:
                node.input[i] = to_half(value)
    for output in g.graph.output:
        last = g.writer[output.name]
        last.output[0] = output.name + "_half"
        g.graph.node.append(helper.make_node("Cast", [output.name + "_half"], [output.name], to=TensorProto.FLOAT))
    del g.graph.value_info[:]
    used = {v for n in g.graph.node for v in n.input}
    for name in [t.name for t in g.graph.initializer if t.name not in used]:
        g.graph.initializer.remove(g.constants[name])


def int8in(g):
    for value in g.graph.input:
        q = next(r for r, _ in g.readers[value.name] if r.op_type == "QuantizeLinear")
        for reader, i in g.readers[q.output[0]]:
            reader.input[i] = value.name
        g.graph.node.remove(q)
        value.type.tensor_type.elem_type = TensorProto.INT8


def nosub(g):
    for sub in g.of("Sub"):
        for reader, i in g.readers[sub.output[0]]:
            reader.input[i] = sub.input[0]
        g.graph.node.remove(sub)


def early(g):
    for flatten in g.of("Flatten"):
        chain, value = [], flatten.output[0]
        while g.readers[value][0][0].op_type in ("Sub", "QuantizeLinear", "DequantizeLinear"):
            chain.append(g.readers[value][0][0])
            value = chain[-1].output[0]
        readers = g.readers[value]
        chain[0].input[0] = flatten.input[0]
        flatten.input[0] = value
        for reader, i in readers:
            reader.input[i] = flatten.output[0]
        for node in chain:
            g.graph.node.remove(node)
        g.insert_before(flatten, chain)


def convfc(g):
    for gemm in g.of("Gemm"):
        flatten, dq = g.writer[gemm.input[0]], g.writer[gemm.input[1]]
        stored = g.constants[dq.input[0]]
        stored.dims.extend([1, 1])
        conv = helper.make_node("Conv", [flatten.input[0], *gemm.input[1:]], [gemm.output[0] + "_map"], gemm.name,
                                kernel_shape=[1, 1])
        g.insert_before(gemm, [conv])
        g.graph.node.remove(gemm)
        g.graph.node.remove(flatten)
        flatten.input[0], flatten.output[0] = conv.output[0], gemm.output[0]
        g.graph.node.append(flatten)


VARIANTS = {"base": lambda g: None, "swap": swap, "split": split, "splitdq": lambda g: split(g, False), "nodown": nodown,
            "both": both, "wq": wq, "pool": pool, "half": half, "int8in": int8in,
            "nosub": nosub, "early": early, "convfc": convfc}
ORDER = ["nosub", "early", "convfc", "nodown", "both", "swap", "pool", "int8in", "split", "splitdq", "half", "wq", "base"]
DEFAULT = ["base", "swap", "split", "nodown", "both", "wq", "pool", "half", "half+pool", "half+swap+pool",
           "half+both+pool", "both+pool"]


def main():
    source, out = sys.argv[1], pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[3:] or DEFAULT:
        parts = name.split("+")
        unknown = set(parts) - set(VARIANTS)
        if unknown:
            sys.exit(f"there is no variant {', '.join(sorted(unknown))}; known: {', '.join(VARIANTS)}")
        g = Graph(onnx.load(source))
        for part in sorted(parts, key=ORDER.index):
            VARIANTS[part](g)
            g.index()
        # ferry takes a file that says it has a form as it is; it would bring any other to opset 17 first.
        del g.model.metadata_props[:]
        helper.set_model_props(g.model, {"ferry.form": '{"input":"float32","layout":"nchw","output":"scores","classifier":"conv"}'})
        onnx.checker.check_model(g.model)
        onnx.save(g.model, out / f"{name}.onnx")
        print(out / f"{name}.onnx", len(g.graph.node), "nodes", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main()
