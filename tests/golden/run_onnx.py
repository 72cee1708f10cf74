"""run_onnx.py FOLDER BATCH...: checks FOLDER/model.onnx with onnx and runs it on the first BATCH images of input.npy.

Writes output_BATCH_0.npy, output_BATCH_1.npy, ... in the order of the model's outputs, as float32.
"""

import sys

import numpy as np
import onnx
import onnxruntime

folder = sys.argv[1]
onnx.checker.check_model(f"{folder}/model.onnx", full_check=True)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
port = session.get_inputs()[0]
images = np.load(f"{folder}/input.npy").astype({"tensor(float)": np.float32, "tensor(float16)": np.float16}[port.type])
for batch in map(int, sys.argv[2:]):
    for i, output in enumerate(session.run(None, {port.name: images[:batch]})):
        np.save(f"{folder}/output_{batch}_{i}.npy", output.astype(np.float32))
