#!/usr/bin/env python3
"""What PyTorch's users do with photographs: DataLoader (torchvision's preset, PIL) feeding torch.compile in FP16.

    images_peer.py CHECKPOINT FOLDER [--workers 16] [--batch 128] [--seconds 10]

The encoded pictures are in memory, as they are for ferry; every picture ends as its five best classes on the host. One JSON
object on stdout. --make FOLDER makes the photographs instead: COUNT pictures of 500x375 or 375x500 out of those in SOURCE.
"""
import argparse
import io
import json
import os
import random
import time


def pictures_below(folder):
    for root, _, names in sorted(os.walk(folder)):
        yield from (os.path.join(root, n) for n in sorted(names) if n.lower().endswith((".jpg", ".jpeg", ".png")))


def make(source, folder, count):
    from PIL import Image

    rng = random.Random(1)
    os.makedirs(folder, exist_ok=True)
    originals = [Image.open(p).convert("RGB") for p in pictures_below(source)]
    for i in range(count):
        image = originals[i % len(originals)]
        size = (500, 375) if image.width >= image.height else (375, 500)
        share = rng.uniform(0.8, 1.0)
        width = min(image.width, image.height * size[0] / size[1]) * share
        height = width * size[1] / size[0]
        left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
        image = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.save(os.path.join(folder, f"{i:05}.jpg"), quality=92)


class Encoded:
    def __init__(self, folder, transform, repeat):
        self.bytes = [open(p, "rb").read() for p in pictures_below(folder)]
        self.transform, self.repeat = transform, repeat

    def __len__(self):
        return len(self.bytes) * self.repeat

    def __getitem__(self, index):
        from PIL import Image

        return self.transform(Image.open(io.BytesIO(self.bytes[index % len(self.bytes)])).convert("RGB"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    parser.add_argument("--make", metavar="SOURCE")
    parser.add_argument("--count", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    if options.make:
        return make(options.make, options.folder, options.count)

    import torch
    import torchvision

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    network = torchvision.models.resnet101(num_classes=1000)
    network.load_state_dict(torch.load(options.checkpoint, weights_only=True))
    network = network.eval().half().cuda().to(memory_format=torch.channels_last)
    compiled = torch.compile(network, mode="max-autotune-no-cudagraphs" if os.environ.get("FERRY_PEER_TUNE") else None)
    transform = torchvision.transforms._presets.ImageClassification(crop_size=224, resize_size=256)
    data = Encoded(options.folder, transform, 1000)
    loader = torch.utils.data.DataLoader(data, batch_size=options.batch, num_workers=options.workers, pin_memory=True,
                                         prefetch_factor=4, drop_last=True)
    done, begin = 0, None
    with torch.inference_mode():
        warm = torch.zeros(options.batch, 3, 224, 224, device="cuda", dtype=torch.half).to(memory_format=torch.channels_last)
        for _ in range(3):
            compiled(warm)
        torch.cuda.synchronize()
        for i, batch in enumerate(loader):
            if i == 20:
                begin, done = time.perf_counter(), 0
            batch = batch.cuda(non_blocking=True).half().to(memory_format=torch.channels_last)
            best = torch.topk(torch.softmax(compiled(batch).float(), 1), 5)
            best.values.cpu(), best.indices.cpu()
            done += len(batch)
            if begin and time.perf_counter() - begin > options.seconds:
                break
    rate = done / (time.perf_counter() - begin)
    print(json.dumps({"peer": "torchvision DataLoader + torch.compile fp16", "workers": options.workers, "batch": options.batch,
                      "images_per_second": round(rate, 1), "torch": torch.__version__, "torchvision": torchvision.__version__}))


if __name__ == "__main__":
    main()
