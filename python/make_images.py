#!/usr/bin/env python3
"""Makes the picture fixtures of tests/unit/image/data with Pillow: NAME.{jpg,png,webp}, the pixels that
PIL.Image.open(...).convert("RGB") gives (NAME.npy) and, for the crops, torchvision's resize and centre crop at small
sizes (NAME.crop.npy: resize 20, crop 16). Run it again only to add a fixture:

    python/make_images.py
"""
import os

import numpy as np
from PIL import Image, ImageOps

import check_images

FOLDER = os.path.join(check_images.ROOT, "tests", "unit", "image", "data")


def save(name, image, upright=False, **options):
    path = os.path.join(FOLDER, name)
    image.save(path, **options)
    decoded = Image.open(path)
    if upright:
        decoded = ImageOps.exif_transpose(decoded)
    decoded = decoded.convert("RGB")
    stem = os.path.splitext(path)[0]
    np.save(stem + ".npy", np.asarray(decoded))
    check_images.CROP = 16
    np.save(stem + ".crop.npy", np.asarray(check_images.crop_as_torchvision(decoded, 20)))


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def main():
    os.makedirs(FOLDER, exist_ok=True)
    rng = np.random.default_rng(7)
    rgb = Image.fromarray(check_images.noise(rng, 41, 29, 3))
    grey = Image.fromarray(check_images.noise(rng, 23, 37, 1)[..., 0])
    save("baseline.jpg", rgb, quality=85)
    save("progressive.jpg", rgb, quality=70, progressive=True, subsampling=1)
    save("grey.jpg", grey, quality=80)
    save("cmyk.jpg", Image.frombytes("CMYK", (31, 22), check_images.noise(rng, 31, 22, 4).tobytes()), quality=85)
    for orientation in range(2, 9):
        save(f"orientation{orientation}.jpg", rgb.resize((21, 13)), True, quality=90, exif=exif_of(orientation))
    save("tall.png", Image.fromarray(check_images.noise(rng, 17, 90, 3)))
    save("small.png", Image.fromarray(check_images.noise(rng, 5, 4, 3)))
    save("palette.png", rgb.quantize(11), transparency=3)
    alpha = rgb.copy()
    alpha.putalpha(Image.fromarray(check_images.noise(rng, 41, 29, 1)[..., 0]))
    save("alpha.png", alpha)
    save("grey16.png", Image.fromarray((rng.random((19, 26)) * 600).astype(np.uint16)))
    save("bits.png", grey.convert("1"))
    save("lossy.webp", rgb, quality=80)
    save("lossless.webp", alpha, lossless=True)


if __name__ == "__main__":
    main()
