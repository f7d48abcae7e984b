"""The page's arithmetic is Python's: its modules, run by node."""

import base64
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from support.browser import text_of
from support.page_modules import by_node, needs_node
from support.site import LOOKS, decoded

from hueglass.export import site
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign, mix_looks
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import Regions, confident, present
from hueglass.infer.regions.segmenter import region_maps
from hueglass.infer.scene.scene_cut import CutDetector, cut_score
from hueglass.infer.scene.smoother import Smoother


@needs_node
@pytest.mark.parametrize("seconds", [0.35, 0.0])
def test_the_smoother_is_pythons(seconds: float) -> None:
    rng = np.random.default_rng(1)
    grids = rng.normal(0, 0.01, (30, 600)).cumsum(0).astype(np.float32)
    grids[15:] += 0.3  # the light falls
    times = np.arange(30) * 0.04
    times[22:] -= 0.5  # the clip begins again
    steps = [(grid, float(time), index == 8) for index, (grid, time) in enumerate(zip(grids, times, strict=True))]
    smoother = Smoother(seconds)
    wanted = [smoother.update(*step) for step in steps]
    script = """
      const { Smoother } = await import(page + '/smoother.js');
      const smoother = new Smoother(given.seconds);
      const update = ([grid, time, fresh]) => smoother.update(new Float32Array(bytes(grid).buffer), time, fresh);
      console.log(JSON.stringify(given.steps.map((step) => text(update(step)))));
    """
    sent = {"seconds": seconds, "steps": [(text_of(grid), time, fresh) for grid, time, fresh in steps]}
    found = [decoded(text) for text in by_node(script, sent)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert np.abs(wanted[14] - grids[14]).max() > 0.001 or not seconds


@needs_node
@pytest.mark.parametrize("size", [256, 80, 64])
def test_cuts_are_found_where_python_finds_them(streets: list[np.ndarray], size: int) -> None:
    """Motion, cuts, a change of light, noise, flat pictures, and a time that goes back. 80 is no multiple of 32."""
    noise = np.random.default_rng(2).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    flat = [np.full((256, 256, 3), level, np.uint8) for level in (0, 90)]
    pictures = [*streets, streets[5] // 2, noise, *flat, streets[0], streets[1], 255 - streets[1]]
    small = [cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA) for x in pictures]
    times = [0.1 * index for index in range(len(small) - 2)] + [0.3, 0.4]
    detector = CutDetector()
    wanted = [detector.update(*step) for step in zip(small, times, strict=True)]
    assert wanted[0]
    assert not any(wanted[1:5])
    assert any(wanted[5:-2])
    assert wanted[-2]
    script = """
      const { CutDetector, cutScore } = await import(page + '/smoother.js');
      const small = given.small.map(bytes);
      const detector = new CutDetector();
      const cuts = small.map((picture, i) => detector.update(picture, given.size, given.times[i]));
      const scores = small.slice(1).map((picture, i) => cutScore(small[i], picture, given.size));
      console.log(JSON.stringify({ cuts, scores }));
    """
    found = by_node(script, {"small": [text_of(x) for x in small], "size": size, "times": times})
    assert found["cuts"] == wanted
    scores = [cut_score(a, b) for a, b in pairwise(small)]
    # At 256 both round alike; OpenCV's own ways with other ratios move a few grey levels by one.
    np.testing.assert_allclose(found["scores"], scores, atol=2e-5 if size == 256 else 5e-3)


@needs_node
def test_half_floats_are_numpys() -> None:
    rng = np.random.default_rng(3)
    scales = np.float32(10) ** rng.integers(-9, 6, 20000).astype(np.float32)
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    halfway = (every[:-1] + every[1:]) / 2
    special = np.array([0, -0.0, np.inf, -np.inf, 65504, 65519.996, 65520, 1e-8, 2.0**-25, 2.0**-24], np.float32)
    near = (np.nextafter(halfway, np.float32(0)), np.nextafter(halfway, np.float32(1e9)))
    values = np.concatenate([rng.normal(0, 1, 20000).astype(np.float32) * scales, every, halfway, *near, special])
    script = """
      const { halfFloats } = await import(page + '/smoother.js');
      const found = halfFloats(new Float32Array(bytes(given.values).buffer));
      console.log(JSON.stringify([text(found), [...halfFloats(Float32Array.of(NaN))]]));
    """
    found, [nothing] = by_node(script, {"values": text_of(values)})
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(decoded(found, np.uint16), values.astype(np.float16).view(np.uint16))
    assert np.isnan(np.uint16(nothing).view(np.float16))


def soft_maps(seed: int, count: int, side: int) -> np.ndarray:
    """(count, side, side) float32, smooth and summing to 1."""
    rng = np.random.default_rng(seed)
    scores = np.stack([cv2.resize(rng.normal(0, 4, (5, 5)).astype(np.float32), (side, side)) for _ in range(count)])
    shares = np.exp(scores)
    return np.asarray(shares / shares.sum(0), np.float32)


@needs_node
def test_regions_are_made_confident_as_python_does() -> None:
    names = ("sky", "building", "ground", "other")
    scores = soft_maps(0, 4, 40) * np.linspace(1.2, -0.05, 40, dtype=np.float32)  # networks round below 0
    scores[1] *= 0.01
    maps = region_maps(scores.copy(), np.eye(4, dtype=np.float32), 40, False)
    wanted = [Regions(maps, names), confident(Regions(maps, names)), present(confident(Regions(maps, names)))]
    assert len(wanted[2].names) < 4
    script = """
      const { named, confident, present } = await import(page + '/regions.js');
      const found = [named(new Float32Array(bytes(given.scores).buffer), given.names)];
      found.push(confident(found[0]));
      found.push(present(found[1]));
      console.log(JSON.stringify(found.map(({ maps, names }) => ({ maps: text(maps), names }))));
    """
    for one, regions in zip(by_node(script, {"scores": text_of(scores), "names": names}), wanted, strict=True):
        assert tuple(one["names"]) == regions.names
        np.testing.assert_allclose(decoded(one["maps"]), regions.maps.ravel(), atol=1e-6)


@needs_node
@pytest.mark.parametrize("seconds", [0.35, 0.0])
def test_the_region_smoother_is_pythons(seconds: float) -> None:
    """Regions drift, one comes and one goes, a cut, and a time that goes back."""
    names, side = ("sky", "building", "person", "other"), 24
    a, b = soft_maps(1, 4, side), soft_maps(2, 4, side)
    a[2] = 0
    b[1] *= 0.002
    frames = [a + (b - a) * np.float32(min(max(i - 4, 0) / 6, 1)) for i in range(16)]
    times = [0.1 * i for i in range(14)] + [0.2, 0.3]
    steps = [(frame, time, index == 12) for index, (frame, time) in enumerate(zip(frames, times, strict=True))]
    smoother = RegionSmoother(seconds)
    wanted = [smoother.update(Regions(frame, names), time, fresh) for frame, time, fresh in steps]
    assert len({regions.names for regions in wanted}) > 2
    script = """
      const { RegionSmoother } = await import(page + '/regions.js');
      const smoother = new RegionSmoother(given.seconds);
      const found = given.steps.map(([frame, time, fresh]) => {
        const regions = { maps: new Float32Array(bytes(frame).buffer), names: given.names };
        const { maps, names } = smoother.update(regions, time, fresh);
        return { maps: text(maps), names };
      });
      console.log(JSON.stringify(found));
    """
    sent = [(text_of(frame), time, fresh) for frame, time, fresh in steps]
    for one, regions in zip(by_node(script, {"steps": sent, "names": names, "seconds": seconds}), wanted, strict=True):
        assert tuple(one["names"]) == regions.names
        np.testing.assert_allclose(decoded(one["maps"]), regions.maps.ravel(), atol=1e-5)


@needs_node
def test_regions_are_carried_along_as_python_does() -> None:
    """Where the picture moves, its maps do; what comes into it is its neighbours', until the next frame says."""
    names, side = ("sky", "building", "other"), 32
    maps = soft_maps(4, 3, side)
    moved = np.array([[1.05, 0.02, 0.3], [-0.01, 0.97, -0.15], [0.02, -0.03, 1.0]])
    smoother = RegionSmoother(0.3)
    wanted = [smoother.update(Regions(maps, names), 0.0), smoother.move(moved)]
    new = smoother.known == 0
    assert 0.1 < new.mean() < 0.5
    wanted.append(smoother.update(Regions(maps[::-1], names), 0.1))
    np.testing.assert_allclose(wanted[2].maps[:, new], maps[::-1][:, new], atol=1e-6)
    script = """
      const { RegionSmoother } = await import(page + '/regions.js');
      const smoother = new RegionSmoother(0.3);
      const of = (maps) => ({ maps: new Float32Array(bytes(maps).buffer), names: given.names });
      const [first, second] = given.maps.map(of);
      const found = [smoother.update(first, 0), smoother.move(given.moved), smoother.update(second, 0.1)];
      console.log(JSON.stringify(found.map(({ maps }) => text(maps))));
    """
    sent = {"maps": [text_of(maps), text_of(np.ascontiguousarray(maps[::-1]))], "names": names}
    found = by_node(script, {**sent, "moved": moved.ravel().tolist()})
    for ours, regions in zip(found, wanted, strict=True):
        np.testing.assert_allclose(decoded(ours), regions.maps.ravel(), atol=0.02)  # OpenCV knows 32nds of a pixel


@needs_node
def test_looks_are_mixed_and_assigned_as_python_does(bundle: ModelBundle, looks: list[Look]) -> None:
    """Of other regions, of none, and with more regions than slots."""
    manifest = bundle.manifest
    side, bare = manifest.thumbnail // 2, replace(looks[2], codes=looks[2].codes[:0], names=())
    regions = Regions(soft_maps(3, 10, side), ("sky", "a", "b", "c", "ground", "building", "d", "e", "f", "vegetation"))
    many = replace(looks[0], names=regions.names, codes=np.repeat(looks[0].codes[:1], 10, 0) + np.arange(10)[:, None])
    many = replace(many, codes=many.codes.astype(np.float32))
    pairs = [(looks[0], looks[1]), (looks[1], bare), (bare, bare), (many, looks[0])]
    pairs.append((mix_looks(*pairs[0], 0.4, ""), looks[2]))
    mixtures = [mix_looks(a, b, 0.3, "") for a, b in pairs]
    script = f"""
      const {{ mixed, assign, NO_REGIONS }} = await import(page + '/regions.js');
      {LOOKS}
      const regions = {{ maps: numbers(given.maps), names: given.names }};
      console.log(JSON.stringify(given.pairs.map((pair) => {{
        const look = mixed(...pair.map(decodedLook), 0.3, given.manifest.code);
        const {{ maps, codes }} = assign(look, regions, given.manifest);
        const none = assign(look, NO_REGIONS, given.manifest);
        const arrays = [look.codes, look.tones, maps, codes, none.maps, none.codes, Float32Array.from(look.shares)];
        return arrays.map(text).concat([look.names]);
      }})));
    """
    sent = {
        "pairs": [[site.look_as_json(look) for look in pair] for pair in pairs],
        "maps": text_of(regions.maps),
        "names": regions.names,
        "manifest": {"slots": manifest.slots, "code": manifest.code, "thumbnail": manifest.thumbnail},
    }
    none = Regions(regions.maps[:0], ())
    for look, found in zip(mixtures, by_node(script, sent), strict=True):
        assert tuple(found.pop()) == look.names
        tasks = [assign(look, regions, manifest.slots), assign(look, none, manifest.slots)]
        given = [part for task in tasks for part in (task.maps, task.codes)]
        wanted = [look.codes, look.tones, *given, np.ones(len(look.names)) if look.shares is None else look.shares]
        for one, array in zip(found, wanted, strict=True):
            np.testing.assert_allclose(decoded(one) if one else np.zeros(0), array.ravel(), atol=1e-5)


def pictures_of(shape: tuple[int, int]) -> dict[str, bytes]:
    """A picture of one size in every kind of file that the page reads."""
    image = np.random.default_rng(4).integers(0, 256, (*shape, 4), dtype=np.uint8)
    kinds: dict[str, tuple[str, int, list[int]]] = {
        "jpeg": (".jpg", 3, []),
        "progressive jpeg": (".jpg", 3, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        "png": (".png", 4, []),
        "webp": (".webp", 3, [cv2.IMWRITE_WEBP_QUALITY, 80]),
        "webp with alpha": (".webp", 4, [cv2.IMWRITE_WEBP_QUALITY, 80]),
        "lossless webp": (".webp", 4, [cv2.IMWRITE_WEBP_QUALITY, 101]),
    }
    return {name: cv2.imencode(s, image[..., :n], options)[1].tobytes() for name, (s, n, options) in kinds.items()}


@needs_node
def test_sizes_are_read_from_headers() -> None:
    files = {
        **pictures_of((37, 300)),
        "cut short": pictures_of((37, 300))["jpeg"][:30],
        "junk": b"GIF89a, but not really",
        "empty": b"",
    }
    script = """
      const { imageSize } = await import(page + '/photo.js');
      console.log(JSON.stringify(Object.fromEntries(Object.entries(given).map(([k, v]) => [k, imageSize(bytes(v))]))));
    """
    found = by_node(script, {name: base64.b64encode(data).decode() for name, data in files.items()})
    assert found == {name: [300, 37] if name in pictures_of((37, 300)) else None for name in files}
