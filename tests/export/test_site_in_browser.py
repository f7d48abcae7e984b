"""A built site in Chromium: its networks give what onnxruntime gives, its page restyles a camera."""

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from support.browser import picture_of, text_of, until
from support.site import DECODE, LOOKS, NAMES, PREDICTOR, Site, decoded, smoothed

from hueglass.export import site
from hueglass.infer.frame import Frame
from hueglass.infer.grid import bilateral
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, make_look
from hueglass.infer.regions.segmenter import find_regions
from hueglass.infer.scene.stylizer import Stylizer


def test_the_networks_give_what_onnxruntime_gives(
    served: Site, bundle: ModelBundle, looks: list[Look], streets: list[np.ndarray]
) -> None:
    noise = np.random.default_rng(5).integers(0, 256, streets[0].shape, dtype=np.uint8)
    thumbnails = [streets[0], streets[5], noise]
    script = """
      const { Networks } = await import('/page/networks.js');
      const networks = await Networks.open(location.origin + '/', given.regions, crossOriginIsolated ? 2 : 1);
      const { NO_REGIONS, confident } = await import('/page/regions.js');
      const out = { grids: [], bare: [], looks: [] };
      for (const thumbnail of given.thumbnails.map(bytes)) {
        const regions = given.regions ? confident(await networks.segment(thumbnail)) : NO_REGIONS;
        for (const look of given.looks.map(decodedLook)) {
          out.grids.push(text((await networks.predict(thumbnail, regions, look)).coefficients));
          out.bare.push(text((await networks.predict(thumbnail, NO_REGIONS, look)).coefficients));
        }
        const { names, codes, tones } = await networks.encode(thumbnail);
        out.looks.push({ names, codes: text(codes), tones: text(tones) });
      }
      return out;
    """
    sent = {"thumbnails": [text_of(x) for x in thumbnails], "looks": [site.look_as_json(look) for look in looks]}
    found = served.call(LOOKS + script, {**sent, "regions": served.regions})
    segmenter = bundle.segmenter if served.regions else None
    bare, wanted = (
        [Stylizer(bundle, look, segmenter=own).predict(Frame(x, 0.0, 0)) for x in thumbnails for look in looks]
        for own in (None, segmenter)
    )
    assert np.abs(np.array([decoded(text) for text in found["bare"]]) - np.reshape(bare, (9, -1))).max() < 1e-3
    far = np.abs(np.array([decoded(text) for text in found["grids"]]) - np.reshape(wanted, (9, -1)))
    assert far.max() < (2e-3 if served.regions else 1e-3)  # what the segmenter is off by is made more by believing it
    for one, x in zip(found["looks"], thumbnails, strict=True):
        look = make_look(bundle, "", x, None if segmenter is None else find_regions(segmenter, x))
        assert tuple(one["names"]) == look.names
        assert np.abs(decoded(one["tones"]) - look.tones.ravel()).max() < 1e-3
        assert np.abs(decoded(one["codes"]) - look.codes.ravel()).max(initial=0) < 1e-3
    assert len(found["looks"][0]["names"]) > 2 or not served.regions
    assert np.abs(np.subtract(wanted[0], wanted[1])).max() > 0.05  # looks differ


def test_a_cross_fade_is_pythons_and_ends_at_the_new_look(
    served: Site, bundle: ModelBundle, looks: list[Look], streets: list[np.ndarray]
) -> None:
    """Smoothing, a cut and a fade behind the predictor's face, frame by frame; then a clock that begins anew, and with
    it another scene."""
    thumbnails = [*streets[:4], streets[5], streets[5], streets[5], streets[5], streets[5]]
    times = [1000.0, 1050, 1100, 1150, 1200, 1300, 1400, 30000, 0]
    script = f"""
      {PREDICTOR}
      const grids = [await predicted(bytes(given.thumbnails[0]), given.times[0])];
      await predictor.setLook(given.name, 0.25);
      for (let i = 1; i < given.times.length; i++) {{
        grids.push(await predicted(bytes(given.thumbnails[i]), given.times[i]));
      }}
      const unknown = await predictor.setLook('no such look', 0).catch((error) => error.message);
      predictor.close();
      return {{ hello, grids, unknown, closed: predictor.predict(bytes(given.thumbnails[0]), 0) }};
    """
    sent = {"thumbnails": [text_of(x) for x in thumbnails], "times": times, "name": NAMES[1]}
    found = served.call(script, sent)
    assert found["hello"]["size"] == bundle.manifest.thumbnail
    assert found["hello"]["grid"] == [8, 32, 32, 12]
    assert found["hello"]["model"] == bundle.manifest.model
    assert [look["name"] for look in found["hello"]["looks"]] == list(NAMES)
    assert [info["time"] for info in found["grids"]] == times
    assert "no look named no such look" in found["unknown"]
    assert found["closed"] is False
    a, b = looks[:2]
    steps = list(zip(thumbnails, np.divide(times, 1000).tolist(), strict=True))
    wanted = np.array(smoothed(bundle, steps, (a, b), served.regions))
    grids = np.array([decoded(info["grid"], np.float16) for info in found["grids"]], np.float32)
    assert np.abs(grids - wanted).max() < 1.5e-3  # of which half floats up to 2 have 0.5e-3
    alone = smoothed(bundle, [(streets[5], 0.0)], (b,), served.regions)[0]
    assert np.abs(grids[-1] - alone).max() < 1.5e-3
    assert np.abs(grids[1] - grids[-1]).max() > 0.05


def test_one_prediction_at_a_time(served: Site, streets: list[np.ndarray]) -> None:
    script = f"""
      {PREDICTOR}
      const first = predicted(bytes(given), 0);
      const second = predictor.predict(bytes(given), 1);
      const {{ time, milliseconds }} = await first;
      const third = await predicted(bytes(given), 2);
      return {{ second, time, milliseconds, third: third.time }};
    """
    found = served.call(script, text_of(streets[0]))
    assert (found["second"], found["time"], found["third"]) == (False, 0, 2)
    assert 0 < found["milliseconds"] < 10000


def test_a_site_that_is_not_whole_is_said_in_plain_words(served: Site) -> None:
    script = """
      const { LocalPredictor } = await import('/page/local_predictor.js');
      const predictor = new LocalPredictor(location.origin + '/elsewhere/');
      return predictor.start().then(() => 'started', (error) => error.message);
    """
    assert "/elsewhere/site.json cannot be loaded (404)" in served.call(script)


SHOWN = f"""async () => {{ {DECODE}
  const {{ renderer }} = window.hueglass;
  const strength = renderer.strength;
  const read = (wanted) => {{
    renderer.strength = wanted;
    const {{ width, height, pixels }} = renderer.readPixels();
    return {{ width, height, pixels: text(pixels) }};
  }};
  return {{ plain: read(0), styled: read(strength), grid: text(renderer.grid.values) }};
}}"""
"""What the page draws of a frame without and with the look, and the grid: in one task, so that they belong together."""


def shown(page: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    answer = page.evaluate(SHOWN)
    grid = decoded(answer["grid"], np.float16).astype(np.float32).reshape(8, 32, 32, 12)
    return picture_of(answer["plain"]), picture_of(answer["styled"]), grid


def next_grid(page: Any, before: np.ndarray) -> np.ndarray:
    """The first that is far from the one before."""
    end = time.monotonic() + 60
    while np.abs((grid := shown(page)[2]) - before).mean() < 0.02:
        assert time.monotonic() < end, f"the grid stays; the page says {page.inner_text('body')!r}"
        page.wait_for_timeout(50)
    return grid


def test_the_page_restyles_the_camera_by_itself(served: Site, street: np.ndarray, tmp_path: Path) -> None:
    """The whole site: the canvas is the numpy reference's, and looks and photographs change it."""
    page = served.page
    page.goto(page.url.replace("/blank", "/"))
    until(page, "window.hueglass?.counts.predicted > 1", 60)
    assert page.evaluate("window.hueglass.predictor.constructor.name") == "LocalPredictor"
    assert page.locator("#looks [data-look]").count() == len(NAMES)
    plain, styled, first = shown(page)
    difference = np.abs(bilateral.render(first, plain).astype(int) - styled).max(-1)
    assert (difference > 2).mean() < 0.001
    assert np.abs(plain.astype(int) - styled).mean() > 5
    page.evaluate(f"document.querySelector('[data-look={NAMES[1]}]').click()")
    second = next_grid(page, first)
    cv2.imwrite(str(tmp_path / "red.png"), (street * np.array([1, 0.4, 0.3]))[..., ::-1])
    page.set_input_files("#photos", str(tmp_path / "red.png"))
    until(page, f"document.querySelectorAll('[data-look]').length === {len(NAMES) + 1}", 60)
    next_grid(page, second)
