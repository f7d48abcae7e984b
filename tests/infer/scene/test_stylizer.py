"""The stylizer: one way for every frame, whatever its size, with or without regions."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from support.fake_cupy import FakeCupy
from support.streets import picture_of_street

from hueglass.infer import ycbcr
from hueglass.infer.frame import Frame
from hueglass.infer.grid.bilateral import blend, identity_grid
from hueglass.infer.grid.cuda import kernels
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, embedded_looks, find_look, make_look
from hueglass.infer.orientation import as_stored, upright
from hueglass.infer.regions.masks import Mask, regions_of
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import Regions, confident
from hueglass.infer.regions.strength import Strength
from hueglass.infer.scene.memory import SceneMemory
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.infer.smoothing import MEMORY, SECONDS, SECONDS_ALONE, Steadying

WARM, COLD = (225, 130, 50), (50, 110, 220)


def picture(height: int = 72, width: int = 128, seed: int = 0) -> np.ndarray:
    """Patches of every colour, the same on the left and on the right."""
    patches = np.random.default_rng(seed).integers(40, 216, (6, 4, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width % 4
    return patches[rows][:, columns]


def halves(bundle: ModelBundle, names: tuple[str, str]) -> Regions:
    labels = np.zeros((72, 128), np.uint8)
    labels[:, 64:] = 1
    return regions_of(Mask(labels, names), bundle.manifest.thumbnail // 2)


@pytest.fixture(scope="module")
def look(bundle: ModelBundle) -> Look:
    """Of a reference that is warm on its left, `a`, and cold on its right, `b`."""
    reference = np.empty((72, 128, 3))
    reference[:, :64], reference[:, 64:] = WARM, COLD
    labels = np.zeros((72, 128), np.uint8)
    labels[:, 64:] = 1
    light = np.clip(reference + picture() / 3 - 40, 0, 255).astype(np.uint8)
    return make_look(bundle, "halves", light, regions_of(Mask(labels, ("a", "b")), bundle.manifest.thumbnail // 2))


def warmth(image: np.ndarray) -> float:
    return float(image[..., 0].mean() - image[..., 2].mean())


def test_predict_and_render_are_the_two_halves_of_a_call(bundle: ModelBundle, look: Look) -> None:
    stylizer, frame = Stylizer(bundle, look), Frame(picture(), 1.5, 7, 0.04)
    regions = halves(bundle, ("a", "b"))
    for given in (None, regions):
        coefficients = stylizer.predict(frame, given)
        manifest = bundle.manifest
        assert coefficients.shape == (manifest.depth, manifest.cells, manifest.cells, 12)
        np.testing.assert_array_equal(stylizer.render(frame, coefficients).image, stylizer(frame, given).image)


def test_regions_are_found_once_in_a_period_and_at_cuts(bundle: ModelBundle, look: Look) -> None:
    seen: list[int] = []

    def segmenter(thumbnail: np.ndarray) -> Regions:
        assert bundle.segmenter is not None
        seen.append(index)
        return bundle.segmenter(thumbnail)

    street = picture_of_street(0, 0.0, 160, 120)
    times = (0.0, 0.1, 0.19, 0.21, 0.3, 0.31, 0.0)
    # 5 is a cut, 6 goes back; a picture that turns is looked at twice as often.
    for shift, wanted in ((0, [0, 3, 5, 6]), (2, [0, 2, 4, 5, 6])):
        seen.clear()
        shots = [*(np.roll(street, shift * i, 1) for i in range(5)), 255 - street[::-1], street]
        stylizer = StylizerSettings(segmenter, region_period=0.2).stylizer(bundle, look)  # type: ignore[arg-type]
        for index, (image, time) in enumerate(zip(shots, times, strict=True)):
            stylizer.predict(Frame(image, time, index))
        assert seen == wanted


def test_time_index_and_duration_are_kept(bundle: ModelBundle, look: Look) -> None:
    frame = Frame(picture(), 1.5, 7, 0.04)
    before = frame.image.copy()
    out = Stylizer(bundle, look)(frame)
    assert (out.time, out.index, out.duration) == (1.5, 7, 0.04)
    assert out.image is not frame.image
    np.testing.assert_array_equal(frame.image, before)
    assert np.abs(out.image.astype(int) - before).mean() > 2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (2160, 2), (77, 101), (256, 256), (720, 1280)])
def test_any_size(bundle: ModelBundle, look: Look, height: int, width: int) -> None:
    out = Stylizer(bundle, look)(Frame(picture(height, width), 0.0, 0)).image
    assert (out.shape, out.dtype) == ((height, width, 3), np.uint8)


def test_regions_take_the_light_of_their_name(bundle: ModelBundle, look: Look) -> None:
    stylizer, frame = Stylizer(bundle, look), Frame(picture(), 0.0, 0)
    for names, sign in ((("a", "b"), 1), (("b", "a"), -1)):
        out = stylizer(frame, halves(bundle, names)).image
        assert sign * (warmth(out[:, :56]) - warmth(out[:, 72:])) > 30


def test_unknown_regions_are_no_regions(bundle: ModelBundle, look: Look) -> None:
    stylizer, frame = Stylizer(bundle, look), Frame(picture(), 0.0, 0)
    np.testing.assert_array_equal(stylizer(frame, halves(bundle, ("x", "y"))).image, stylizer(frame).image)


def test_strength_blends_with_the_identity(bundle: ModelBundle, look: Look) -> None:
    frame = Frame(picture(), 0.0, 0)
    full = Stylizer(bundle, look).predict(frame)
    for strength in (0.0, 0.3, 1.0, 1.5):
        expected = blend(identity_grid(full.shape), full, strength)
        np.testing.assert_allclose(Stylizer(bundle, look, Strength(strength)).predict(frame), expected, atol=1e-5)
    np.testing.assert_array_equal(Stylizer(bundle, look, Strength(0))(frame).image, frame.image)


def test_smoothing_follows_the_frames(bundle: ModelBundle, look: Look) -> None:
    """The average between two predictions, weighted by the time between the frames; strength comes after."""
    first, second = Frame(picture(), 0.0, 0), Frame(np.roll(picture(), 3, axis=1) // 2 + 60, 0.1, 1)
    a, b = (Stylizer(bundle, look).predict(f) for f in (first, second))
    stylizer = Stylizer(bundle, look, smoother=Smoother(0.2))
    np.testing.assert_array_equal(stylizer.predict(first), a)
    smoother = Smoother(0.2)
    smoother.update(a, 0.0)
    expected = smoother.update(b, 0.1)
    assert 1 - np.exp(-0.5) <= (np.abs(expected - a).mean() / np.abs(b - a).mean()) < 1
    np.testing.assert_allclose(stylizer.predict(second), expected, atol=1e-5)
    assert np.abs(a - b).max() > 1e-3
    weak = Stylizer(bundle, look, Strength(0.5), Smoother(0.2))
    weak.predict(first)
    identity = identity_grid(a.shape)
    np.testing.assert_allclose(weak.predict(second), blend(identity, expected, 0.5), atol=1e-5)


def test_a_picture_does_not_depend_on_the_one_before(bundle: ModelBundle, look: Look) -> None:
    stylizer = Stylizer(bundle, look)
    alone = stylizer(Frame(picture(), 0.0, 0)).image
    stylizer(Frame(picture(seed=5), 0.1, 1))
    np.testing.assert_array_equal(stylizer(Frame(picture(), 0.2, 2)).image, alone)


@pytest.fixture(scope="module")
def street_look(bundle: ModelBundle) -> Look:
    """Of a generated street whose regions the segmenter found."""
    reference = picture_of_street(5, 1.0, 160, 120)
    assert bundle.segmenter is not None
    return make_look(bundle, "street", reference // 2, bundle.segmenter(bundle.thumbnail(reference)))


def test_regions_are_found_where_none_are_given(bundle: ModelBundle, street_look: Look) -> None:
    frame = Frame(picture_of_street(6, 1.0, 160, 120), 0.0, 0)
    assert bundle.segmenter is not None
    found = confident(bundle.segmenter(bundle.thumbnail(frame.image)))
    stylizer = Stylizer(bundle, street_look, segmenter=bundle.segmenter)
    np.testing.assert_array_equal(stylizer.predict(frame), stylizer.predict(frame, found))
    assert np.abs(stylizer.predict(frame) - Stylizer(bundle, street_look).predict(frame)).max() > 0.01


def test_found_regions_are_smoothed_until_a_cut(bundle: ModelBundle, street_look: Look) -> None:
    """The frame between two others has regions between theirs; the first frame of a shot has its own."""
    a, b = (Frame(picture_of_street(6, t, 160, 120), t, 0) for t in (1.0, 1.04))
    cut = Frame(picture_of_street(8, 1.0, 160, 120) // 3, 1.08, 2)
    smoother = RegionSmoother(0.1)
    stylizer = Stylizer(bundle, street_look, smoother=Smoother(0), segmenter=bundle.segmenter, region_smoother=smoother)
    assert bundle.segmenter is not None
    maps = [confident(bundle.segmenter(bundle.thumbnail(frame.image))).maps for frame in (a, b, cut)]
    stylizer.predict(a)
    stylizer.predict(b)
    assert smoother.average is not None
    np.testing.assert_allclose(smoother.average, blend(maps[0], maps[1], 1 - np.exp(-0.4)), atol=2e-3)
    stylizer.predict(cut)
    np.testing.assert_allclose(smoother.average, maps[2], atol=1e-5)


def test_the_stylizer_renders_where_the_network_runs(on_cpu: FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    """RGB and Y'CbCr, for files and for a screen, through the CUDA renderer's way for frames of the host."""
    bundle = ModelBundle()
    look = find_look(embedded_looks()[0], bundle.manifest)
    rendered = []
    real = kernels.render_host
    monkeypatch.setattr(kernels, "render_host", lambda *arguments: (rendered.append(1), real(*arguments))[1])
    monkeypatch.setattr(ModelBundle, "device", property(lambda self: "cuda" if self is bundle else "cpu"))
    image = picture(90, 160)
    planar = ycbcr.from_rgb(image.astype(np.float32) / 255)
    on_gpu, plain = Stylizer(bundle, look), Stylizer(ModelBundle(), look)
    assert on_gpu.renderer.name == "CUDA"
    found, wanted = (stylizer(Frame(image, 0.0, 0)).image for stylizer in (on_gpu, plain))
    assert np.abs(found.astype(int) - wanted).max() <= 1
    ours, theirs = (stylizer(Frame(planar, 0.0, 0)).image for stylizer in (on_gpu, plain))
    for a, b in zip(ours.planes, theirs.planes, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1
    grid = plain.predict(Frame(image, 0.0, 0))
    found, wanted = (stylizer.render_upright(Frame(image, 0.0, 0), grid) for stylizer in (on_gpu, plain))
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert len(rendered) == 3


def test_frames_on_a_gpu_stay_there(on_cpu: FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = ModelBundle()
    look = find_look(embedded_looks()[0], bundle.manifest)
    image = cv2.GaussianBlur(picture(180, 320), (0, 0), 5)
    wanted = Stylizer(bundle, look)(Frame(image, 0.0, 0)).image.astype(int)
    monkeypatch.setattr(ModelBundle, "device", "cuda")
    out = Stylizer(bundle, look)(Frame(on_cpu.asarray(image), 0.0, 0)).image
    assert isinstance(out, on_cpu.ndarray)
    assert np.abs(np.asarray(out).astype(int) - wanted).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_frames_are_seen_upright_and_rendered_as_they_are_stored(
    bundle: ModelBundle, look: Look, orientation: int
) -> None:
    """What a person sees is the same, however it is stored."""
    seen = cv2.GaussianBlur(picture(96, 64), (0, 0), 3)
    stored = np.ascontiguousarray(as_stored(seen, orientation))
    wanted = Stylizer(bundle, look)(Frame(seen, 0.0, 0)).image.astype(int)
    stylizer, frame = Stylizer(bundle, look), Frame(stored, 0.0, 0, orientation=orientation)
    out = stylizer(frame)
    assert (out.image.shape, out.orientation) == (stored.shape, orientation)
    assert np.abs(upright(out.image, orientation) - wanted).mean() < 0.5
    shown = stylizer.render_upright(frame, stylizer.predict(frame))
    assert shown.shape == seen.shape
    assert np.abs(shown - wanted).mean() < 0.5


def test_a_step_that_may_wait_only_says_that_no_shot_begins(bundle: ModelBundle, look: Look) -> None:
    stylizer = Stylizer(bundle, look)
    first = stylizer.step(Frame(picture(), 0.0, 0), not_before=9.0)
    assert first is not None
    assert first.fresh
    assert stylizer.step(Frame(picture(), 0.1, 1), not_before=0.2) is None
    later = stylizer.step(Frame(picture(), 0.2, 2), not_before=0.2)
    assert later is not None
    assert not later.fresh
    cut = stylizer.step(Frame(255 - picture(seed=3)[::-1], 0.25, 3), not_before=0.4)
    assert cut is not None
    assert cut.fresh


def test_video_remembers_its_scene_unless_told_otherwise(bundle: ModelBundle, look: Look) -> None:
    remembering, settled, alone = (
        StylizerSettings(steady=steady).stylizer(bundle, look)
        for steady in (Steadying(), Steadying(30.0, 0.5), Steadying(None))
    )
    assert remembering.memory is not None
    assert settled.memory is not None
    assert alone.memory is None
    assert [one.memory.seconds for one in (remembering, settled) if one.memory] == [MEMORY, 30.0]
    assert remembering.memory.slots == bundle.manifest.slots
    smoothers = [one.smoother for one in (remembering, settled, alone)]
    assert [smoother and smoother.seconds for smoother in smoothers] == [SECONDS, 0.5, SECONDS_ALONE]
    assert not Stylizer(bundle, look).memory


def test_the_first_frame_of_a_shot_is_seen_by_itself_and_later_ones_with_what_was_seen(
    bundle: ModelBundle, look: Look
) -> None:
    """Half as much is in the picture later: alone it would be taken for all there is."""
    whole = picture_of_street(0, 0.0, 320, 240)
    first, later = Frame(whole, 0.0, 0), Frame(np.ascontiguousarray(whole[:, :200]), 0.1, 1)
    cut = Frame(255 - picture_of_street(1, 0.0, 320, 240)[::-1], 0.2, 2)
    stylizer = Stylizer(bundle, look, memory=SceneMemory(bundle.manifest.slots))
    plain = Stylizer(bundle, look)
    np.testing.assert_array_equal(stylizer.predict(first), plain.predict(first))
    assert np.abs(stylizer.predict(later) - plain.predict(later)).mean() > 1e-3
    before = stylizer.memory
    np.testing.assert_array_equal(stylizer.predict(cut), plain.predict(cut))
    assert stylizer.memory is not before


def test_a_look_that_fades_in_is_told_of_the_scene_and_never_jumps(bundle: ModelBundle) -> None:
    """On a still street: from frame to frame a little, and at the end what the look would have made of it all along."""
    old, new = (find_look(name, bundle.manifest) for name in ("golden-hour", "moonlight"))
    image = picture_of_street(0, 0.0, 320, 240)
    frames = [Frame(image, i / 10, i) for i in range(31)]
    fading, all_along = (
        Stylizer(bundle, look, segmenter=bundle.segmenter, memory=SceneMemory(bundle.manifest.slots))
        for look in (old, new)
    )
    grids = [fading.predict(frame) for frame in frames[:10]]
    fading.fade_to(new, seconds=1.0)
    grids += [fading.predict(frame) for frame in frames[10:]]
    wanted = [all_along.predict(frame) for frame in frames][-1]
    assert fading.look is new
    assert fading.memory is not None
    assert fading.memory.recall(()) is not None
    steps = [float(np.abs(b - a).mean()) for a, b in pairwise(grids)]
    total = float(np.abs(grids[-1] - grids[0]).mean())
    assert total > 0.05
    assert max(steps) < 0.3 * total
    assert float(np.abs(grids[-1] - wanted).mean()) < 0.1 * total
