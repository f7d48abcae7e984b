"""Photographs that a built site makes looks of, in Chromium."""

import base64
import io

import cv2
import numpy as np
from PIL import Image
from support.browser import text_of
from support.site import PREDICTOR, Site, decoded, smoothed

from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import make_look
from hueglass.infer.regions.segmenter import find_regions


def test_a_photograph_becomes_a_look(served: Site, bundle: ModelBundle, streets: list[np.ndarray]) -> None:
    """Of the size of a thumbnail, so that the network sees what Python's sees."""
    reference = np.clip(streets[5] * np.array([1.3, 0.8, 0.4]), 0, 255).astype(np.uint8)
    data = cv2.imencode(".png", reference[..., ::-1])[1]
    script = f"""
      {PREDICTOR}
      const file = new File([bytes(given.png)], 'evening.png');
      const looks = [await predictor.addLook(file), await predictor.addLook(file)];
      const image = new Image();
      image.src = looks[0].preview;
      await image.decode();
      await predictor.setLook(looks[0].name, 0);
      return {{ looks, width: image.width, grid: (await predicted(bytes(given.thumbnail), 0)).grid }};
    """
    found = served.call(script, {"png": text_of(data), "thumbnail": text_of(streets[0])})
    assert [look["name"] for look in found["looks"]] == ["evening", "evening 2"]
    assert found["width"] == bundle.manifest.thumbnail
    segmenter = bundle.segmenter if served.regions else None
    look = make_look(bundle, "evening", reference, None if segmenter is None else find_regions(segmenter, reference))
    wanted = smoothed(bundle, [(streets[0], 0.0)], (look,), served.regions)[0]
    assert np.abs(decoded(found["grid"], np.float16) - wanted).max() < 1.5e-3


def test_thumbnails_are_the_mean_over_the_exact_area(served: Site, bundle: ModelBundle, street: np.ndarray) -> None:
    """Large and small ones of any shape; what is transparent lies on white."""
    large, small = street, cv2.resize(street, (120, 80), interpolation=cv2.INTER_AREA)
    alpha = np.dstack([large, np.full(large.shape[:2], 255, np.uint8)])
    alpha[:200, :300] = (10, 20, 30, 0)
    white = large.copy()
    white[:200, :300] = 255
    script = """
      const { thumbnailOf } = await import('/page/photo.js');
      const out = [];
      for (const file of given) {
        const options = { colorSpaceConversion: 'none' };
        out.push(text(thumbnailOf(await createImageBitmap(new Blob([bytes(file)]), options), 256)));
      }
      return out;
    """
    swapped = (large[..., ::-1], small[..., ::-1], alpha[..., [2, 1, 0, 3]])
    found = served.call(script, [text_of(cv2.imencode(".png", image)[1]) for image in swapped])
    for text, image in zip(found, (large, small, white), strict=True):
        thumbnail = decoded(text, np.uint8).reshape(256, 256, 3).astype(int)
        # Python's, for speed, is the mean over the exact area by and large; browsers enlarge with coarse weights.
        assert np.abs(thumbnail - bundle.thumbnail(image)).mean() < 1.5
        if image is not small:
            assert np.abs(thumbnail - cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)).max() <= 1


def test_a_photograph_is_turned_upright(served: Site) -> None:
    """As phones write them: 40x20 pixels, and a note to turn them by a quarter."""
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 120, 40)).save(file, "jpeg", exif=exif)
    script = f"""
      {PREDICTOR}
      const image = new Image();
      image.src = (await predictor.addLook(new Blob([bytes(given)]))).preview;
      await image.decode();
      return [image.width, image.height];
    """
    assert served.call(script, base64.b64encode(file.getvalue()).decode()) == [20, 40]


def test_what_is_no_photograph_is_refused_in_plain_words(served: Site, streets: list[np.ndarray]) -> None:
    png = cv2.imencode(".png", streets[0])[1].tobytes()
    bomb = bytearray(png)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    files = [b"just words", b"", bytes(bomb), png[:100]]
    script = f"""
      {PREDICTOR}
      const files = given.map((file) => new Blob([bytes(file)]));
      files.push(new Blob([new Uint8Array((16 << 20) + 1)]));
      const said = [];
      for (const file of files) said.push(await predictor.addLook(file).then(() => 'taken', (error) => error.message));
      return said;
    """
    said = served.call(script, [base64.b64encode(data).decode() for data in files])
    assert ["no photo" in said[0], "no photo" in said[1], "60000 x 60000" in said[2]] == [True] * 3
    assert "damaged" in said[3]
    assert "16 MiB" in said[4]
