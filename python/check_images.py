#!/usr/bin/env python3
"""Checks ferry's pictures against Pillow: every decoded pixel, every crop and every float must be the same bits.

    python/check_images.py build/tests/unit/image/image_dump [FOLDER...]

Pictures: the committed fixtures, about 150 made on the spot (sizes, modes, codings, EXIF), and the folders given, or
96 of the shared photographs. Ends with 0 if all agree, 1 if any differs, 77 if Pillow or NumPy is missing.
"""
import hashlib
import io
import os
import struct
import subprocess
import sys
import tempfile
import zlib

try:
    import numpy as np
    from PIL import Image, ImageOps, features
except ImportError as missing:
    print(f"skipped: {missing}; install Pillow and NumPy")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESIZE = {"imagenet-v1": 256, "imagenet-v2": 232}
CROP = 224


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def crop_as_torchvision(image, resize):
    """torchvision.transforms.functional.resize and center_crop on a PIL image (no torch needed)."""
    short, long = sorted(image.size)
    new_long = int(resize * long / short)
    size = (resize, new_long) if image.width <= image.height else (new_long, resize)
    image = image.resize(size, Image.Resampling.BILINEAR)
    if min(image.size) < CROP:
        left, top = (max(0, (CROP - s) // 2) for s in image.size)
        padded = Image.new("RGB", (max(CROP, image.width), max(CROP, image.height)))
        padded.paste(image, (left, top))
        image = padded
    left, top = (int(round((s - CROP) / 2.0)) for s in image.size)
    return image.crop((left, top, left + CROP, top + CROP))


def older_order(image, resize):
    """Pillow before 13 never shrinks the height first, so its crops of tall pictures can differ by one."""
    width, height = image.size
    new_height = int(resize * height / width)
    return int(Image.__version__.split(".")[0]) < 13 and height - new_height > max(0, 2 * (width - resize))


def expected(path, preset, exif):
    try:
        image = Image.open(path)
        if exif:
            image = ImageOps.exif_transpose(image)
        image = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return ["error", str(error)]
    decoded = [str(image.width), str(image.height), digest(np.asarray(image))]
    if older_order(image, RESIZE[preset]):
        return decoded
    crop = np.asarray(crop_as_torchvision(image, RESIZE[preset]))
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    planes = ((crop.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
    return decoded + [digest(crop), digest(planes)]


def noise(rng, width, height, channels):
    """A picture with smooth parts and detail, so that upsampling and rounding show."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([127 + 90 * np.sin(x / (7 + 9 * c) + y / (11 + 3 * c)) for c in range(channels)], -1)
    return np.clip(base + rng.normal(0, 25, base.shape), 0, 255).astype(np.uint8)


def make_jpegs(folder, rng):
    for i in range(60):
        width, height = rng.integers(1, 700), rng.integers(1, 700)
        kind = ["RGB", "L", "CMYK"][i % 3] if i % 4 else "RGB"
        channels = {"RGB": 3, "L": 1, "CMYK": 4}[kind]
        pixels = noise(rng, width, height, channels)
        image = Image.frombytes(kind, (int(width), int(height)), pixels.tobytes())
        options = {"quality": int(rng.integers(20, 100)), "progressive": bool(i % 2), "optimize": bool(i % 5 == 0)}
        if kind == "RGB":
            options["subsampling"] = int(i % 3)
        if i % 7 == 0:
            exif = Image.Exif()
            exif[0x0112] = int(i // 7 % 8 + 1)
            options["exif"] = exif
        image.save(f"{folder}/j{i}_{width}x{height}_{kind}.jpg", **options)


def make_tall_and_flat(folder, rng):
    for width, height in [(300, 1500), (1500, 300), (3, 2000), (2000, 3), (256, 256), (224, 224), (257, 513), (90, 2500),
                          (1, 1), (1, 300), (511, 256), (2000, 1999)]:
        Image.fromarray(noise(rng, width, height, 3)).save(f"{folder}/s_{width}x{height}.png")


def make_pngs(folder, rng):
    for i, mode in enumerate(["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "RGB", "P"] * 4):
        width, height = (int(n) for n in rng.integers(1, 400, 2))
        path = f"{folder}/p{i}_{mode.replace(';', '')}.png"
        image = Image.fromarray(noise(rng, width, height, 3))
        if mode == "I;16":
            Image.fromarray((rng.random((height, width)) * (600 if i % 2 else 65535)).astype(np.uint16)).save(path)
        elif mode == "P":
            image.quantize(int(rng.choice([2, 4, 16, 200]))).save(path, **({"transparency": 0} if i % 2 else {}))
        else:
            if mode in ("RGBA", "LA"):
                image.putalpha(Image.fromarray(noise(rng, width, height, 1)[..., 0]))
            image.convert(mode).save(path)


def write_png(path, samples, colour_type, interlaced):
    """What Pillow does not write: 16 bits a sample (colour types 2, 4, 6) and Adam7, without filters."""
    height, width, channels = samples.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x, y, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::dy, x::dx]
        if part.size:
            raw += b"".join(b"\0" + row.astype(">u2").tobytes() for row in part)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, interlaced)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def make_deep_pngs(folder, rng):
    for colour_type, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        for interlaced in (0, 1):
            samples = rng.integers(0, 65536, (37, 53, channels))
            write_png(f"{folder}/d{colour_type}_{interlaced}.png", samples, colour_type, interlaced)


def make_webps(folder, rng):
    for i in range(12):
        width, height = (int(n) for n in rng.integers(1, 400, 2))
        image = Image.fromarray(noise(rng, width, height, 3))
        if i % 3 == 0:
            image.putalpha(Image.fromarray(noise(rng, width, height, 1)[..., 0]))
        image.save(f"{folder}/w{i}.webp", lossless=bool(i % 2), quality=60 + i)


def make_broken(folder, rng):
    buffer = io.BytesIO()
    Image.fromarray(noise(rng, 200, 150, 3)).save(buffer, "JPEG", quality=90)
    data = buffer.getvalue()
    for name, part in {"half.jpg": data[: len(data) // 2], "head.jpg": data[:100], "no_end.jpg": data[:-2]}.items():
        with open(f"{folder}/broken_{name}", "wb") as file:
            file.write(part)
    with open(f"{folder}/broken_text.jpg", "w", encoding="ascii") as file:
        file.write("not a picture")


def pictures(folder):
    for root, _, names in sorted(os.walk(folder)):
        yield from (os.path.join(root, n) for n in sorted(names) if n.lower().endswith((".jpg", ".jpeg", ".png", ".webp")))


def compare(dump, preset, exif, paths):
    command = [dump] + (["--exif"] if exif else []) + [preset]
    result = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    bad = [] if len(rows) == len(paths) else [f"{len(rows)} results for {len(paths)} pictures"]
    for path, row in zip(paths, rows):
        want = expected(path, preset, exif)
        same = row[1] == want[0] == "error" or row[1 : len(want) + 1] == want
        if not same:
            what = [n for n, a, b in zip(("width", "height", "pixels", "crop", "floats"), row[1:], want) if a != b]
            bad.append(f"{path}: {', '.join(what)} differ; ferry {row[1:]}, Pillow {want}")
    return bad


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rng = np.random.default_rng(1)
    shared = os.environ.get("FERRY_SHARED", os.path.join(ROOT, "..", "shared"))
    folders = sys.argv[2:] or [f for f in [os.path.join(shared, "images")] if os.path.isdir(f)]
    with tempfile.TemporaryDirectory() as made:
        make_jpegs(made, rng)
        make_tall_and_flat(made, rng)
        make_pngs(made, rng)
        make_deep_pngs(made, rng)
        if features.check("webp"):
            make_webps(made, rng)
        make_broken(made, rng)
        own = list(pictures(os.path.join(ROOT, "tests", "unit", "image", "data"))) + list(pictures(made))
        given = [p for f in folders for p in pictures(f)]
        if len(sys.argv) == 2:
            given = given[:: max(1, len(given) // 96)][:96]  # CI's minutes
        bad = compare(sys.argv[1], "imagenet-v1", False, own + given)
        bad += compare(sys.argv[1], "imagenet-v2", True, own)
    for line in bad[:40]:
        print(line)
    print(f"{len(own)} fixtures and made pictures, {len(given)} of {folders or 'no folder'}: "
          f"{len(bad)} differ (Pillow {Image.__version__})")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
