"""torchvision_peer.py FOLDER NETWORK: a seeded torchvision network as a checkpoint and as ONNX, and what it answers.

Writes FOLDER/weights.pth, FOLDER/torch.onnx (torch's own exporter, batch fixed at 1), input.npy and expected.npy.
"""

import sys
import warnings

import numpy as np
import torch
import torchvision

warnings.filterwarnings("ignore")
folder, name = sys.argv[1:]
torch.manual_seed(1)
model = getattr(torchvision.models, name)(weights=None).eval()
for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.running_mean.normal_(0, 0.1)
        module.running_var.uniform_(0.8, 1.2)
        module.weight.data.uniform_(0.4, 0.8)
image = torch.randn(5, 3, 224, 224)
with torch.no_grad():
    expected = model(image)
torch.save(model.state_dict(), f"{folder}/weights.pth")
export = {} if torch.__version__.startswith("1.") else {"dynamo": False}
torch.onnx.export(model, (image[:1],), f"{folder}/torch.onnx", opset_version=17, **export)
np.save(f"{folder}/input.npy", image.numpy())
np.save(f"{folder}/expected.npy", expected.numpy())
