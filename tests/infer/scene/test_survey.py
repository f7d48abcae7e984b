"""A clip seen through beforehand: its scenes, which of them a shot is of, and what a stylizer makes of knowing them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.streets import picture_of_street

from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign, find_look
from hueglass.infer.regions.regions import Regions
from hueglass.infer.scene.clip import survey
from hueglass.infer.scene.memory import WEIGHT, Picture, SceneMemory
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.infer.scene.survey import scene_at
from hueglass.infer.smoothing import Steadying

WIDTH, MEASURED = 320, 42
"""Of a window in pixels; numbers in a row of sums that are counted, not learned."""


@pytest.fixture(scope="module")
def look(bundle: ModelBundle) -> Look:
    return find_look("golden-hour", bundle.manifest)


def wide(seed: int = 0) -> np.ndarray:
    """A street (270, 960, 3) float in [0, 255] that lies in the shade on the left and in the sun on the right."""
    shade = np.linspace(0.35, 1.1, 960)[:, None]
    lit: np.ndarray = np.clip(picture_of_street(seed, 0.0, 960, 270) * shade, 0, 255)
    return lit


def pan(count: int, image: np.ndarray, start: float = 0.0, gain: float = 1.0) -> list[Frame[np.ndarray]]:
    """A camera that turns from the left end of a picture to the right, a frame a second, by whole tens of pixels."""
    lefts = [round(i / max(count - 1, 1) * (image.shape[1] - WIDTH) / 10) * 10 for i in range(count)]
    windows = [np.clip(image[:, left : left + WIDTH] * gain + 0.5, 0, 255).astype(np.uint8) for left in lefts]
    return [Frame(window, start + i, i, 1.0) for i, window in enumerate(windows)]


def still(count: int, image: np.ndarray, start: float = 0.0, gain: float = 1.0) -> list[Frame[np.ndarray]]:
    """The left end of a picture, a frame a second."""
    return [Frame(pan(1, image, gain=gain)[0].image, start + i, i, 1.0) for i in range(count)]


def video_stylizer(bundle: ModelBundle, look: Look, memory: float | None = 600.0, regions: bool = True) -> Stylizer:
    """One that remembers, or not, and does not smooth coefficients."""
    found = bundle.segmenter if regions else None
    return StylizerSettings(found, steady=Steadying(memory, 0.0), region_period=0.0).stylizer(bundle, look)


def two_shots() -> list[Frame[np.ndarray]]:
    """Four frames of a street, then four of the negative of another, upside down."""
    return [*pan(4, wide()[:, :640]), *pan(4, 255 - wide(1)[::-1, :640, ::-1], start=4.0)]


def test_two_shots_are_two_scenes(bundle: ModelBundle, look: Look) -> None:
    glances = survey(video_stylizer(bundle, look), two_shots())
    assert [glance.time for glance in glances] == list(range(8))
    first, second = glances[0].scene, glances[4].scene
    assert first is not second
    assert [glance.scene is first for glance in glances] == [True] * 4 + [False] * 4
    assert [glance.scene is second for glance in glances] == [False] * 4 + [True] * 4
    assert [first.gathered, second.gathered] == [4, 4]


def test_nothing_is_nothing(bundle: ModelBundle, look: Look) -> None:
    assert survey(video_stylizer(bundle, look), []) == []
    assert scene_at([], bundle.thumbnail(wide().astype(np.uint8)), 0.0) is None


def test_a_shot_finds_its_own_scene(bundle: ModelBundle, look: Look) -> None:
    """The first glance from its first frame on: it may begin before that, but not after the last."""
    frames = two_shots()
    glances = survey(video_stylizer(bundle, look), frames)
    thumbnails = [bundle.thumbnail(frame.image) for frame in frames]
    for i, time in ((0, -0.5), (0, 0.0), (2, 1.7), (4, 3.3), (4, 4.0), (7, 7.0)):
        found = scene_at(glances, thumbnails[i], time)
        assert found is not None
        assert_tells(found, glances[i].scene)
        np.testing.assert_array_equal(found.gain, 1)
    assert scene_at(glances, thumbnails[7], 7.5) is None
    assert scene_at(glances, thumbnails[4], 1.0) is None
    assert scene_at(glances, thumbnails[0], 4.0) is None
    assert scene_at(glances, thumbnails[0], 3.5) is None  # a shot that is over before its glance


def assert_tells(ours: SceneMemory, theirs: SceneMemory) -> None:
    """Both know the same things by the same sums, light aside."""
    assert ours.rest is not None
    assert theirs.rest is not None
    np.testing.assert_array_equal(ours.rest, theirs.rest)
    assert ours.regions.keys() == theirs.regions.keys()
    for name, row in ours.regions.items():
        np.testing.assert_array_equal(row, theirs.regions[name])


def test_a_scene_is_the_mean_of_what_its_frames_show(bundle: ModelBundle, look: Look) -> None:
    """Row by row, a region that a frame does not show counting as none of it; slowly, frame by frame."""
    frames, names, size = (
        still(1, wide()) * 2 + pan(2, wide()[:, :340]),
        ("sky", "ground"),
        bundle.manifest.thumbnail // 2,
    )
    maps = np.zeros((2, size, size), np.float32)
    maps[0, :40], maps[1, 70:] = 1, 1
    shown = [Regions(maps, names), Regions(maps[:1], names[:1]), Regions(maps, names), Regions(maps[::-1], names[::-1])]
    assert set(names) <= set(look.names)
    scene = SceneMemory(bundle.manifest.slots, gathered=0)
    for i, (frame, regions) in enumerate(zip(frames, shown, strict=True)):
        thumbnail, task = bundle.thumbnail(frame.image), assign(look, regions, bundle.manifest.slots)
        scene.follow(thumbnail)
        sums = bundle.predict(thumbnail, task, scene.recall(task.names)).sums
        scene.remember(sums, Picture(thumbnail, regions, scene.gain), task.names, float(i))
    told = scene.recall(names)
    assert told is not None
    expected = np.zeros((2, MEASURED))
    whole = np.zeros(MEASURED)
    for frame, regions in zip(frames, shown, strict=True):
        sums = bundle.predict(bundle.thumbnail(frame.image), assign(look, regions, bundle.manifest.slots)).sums
        for name, row in zip(regions.names, sums, strict=False):
            expected[names.index(name)] += row[:MEASURED] / len(frames)
        whole += sums[-1, :MEASURED] / len(frames)
    np.testing.assert_allclose(told[:2, :MEASURED] / WEIGHT, expected, atol=0.01)
    np.testing.assert_allclose(told[-1, :MEASURED] / WEIGHT, whole, atol=0.01)
    np.testing.assert_allclose(told[:2, 0] / WEIGHT, expected[:, 0], atol=1e-4)


def luma_of(scene: SceneMemory) -> float:
    assert scene.rest is not None
    return float(scene.rest[-1, 1])


def test_a_later_change_of_exposure_is_divided_out(bundle: ModelBundle, look: Look) -> None:
    """A scene is known in the light of its first frame, however the camera exposes the others."""
    bright = still(4, wide(), gain=0.9)
    darker = [*bright[:2], *still(2, wide(), start=2.0, gain=0.6)]
    one, other = (survey(video_stylizer(bundle, look), frames)[-1].scene for frames in (bright, darker))
    assert luma_of(other) == pytest.approx(luma_of(one), rel=0.03)
    thumbnails = [bundle.thumbnail(frame.image) for frame in (bright[0], darker[-1])]
    lumas = [float(thumbnail.mean()) for thumbnail in thumbnails]
    assert lumas[1] < 0.7 * lumas[0]


def test_a_shot_that_begins_in_another_light_than_it_was_seen_in_is_told_in_its_own(
    bundle: ModelBundle, look: Look
) -> None:
    """The first frame of a shot is a little earlier than the glance, and exposed otherwise."""
    glances = survey(video_stylizer(bundle, look), still(3, wide(), gain=0.9))
    frame = still(1, wide(), gain=0.6)[0]
    found = scene_at(glances, bundle.thumbnail(frame.image), -0.2)
    assert found is not None
    before = found.recall(())
    found.follow(bundle.thumbnail(frame.image))
    after = found.recall(())
    assert before is not None
    assert after is not None
    assert after[-1, 1] / before[-1, 1] == pytest.approx(0.6 / 0.9, rel=0.03)


def drift(shown: Sequence[Frame[np.ndarray]], seen: Sequence[Frame[np.ndarray]], image: np.ndarray) -> float:
    """By how many levels the colours of a thing differ from its mean, of all things, ten by ten pixels each, that three
    frames of a pan show."""
    kept: dict[int, list[np.ndarray]] = {}
    for before, after in zip(seen, shown, strict=True):
        left = next(x for x in range(0, image.shape[1], 10) if alike(before.image, image[:, x : x + WIDTH]))
        tiles = after.image.reshape(27, 10, WIDTH // 10, 10, 3).mean((1, 3))
        for column in range(WIDTH // 10):
            kept.setdefault(left // 10 + column, []).append(tiles[:, column])
    return float(np.mean([np.abs(x - np.mean(x, 0)).mean() for x in map(np.array, kept.values()) if len(x) > 2]))


def alike(picture: np.ndarray, part: np.ndarray) -> bool:
    return picture.shape == part.shape and bool(np.abs(picture - part).max() <= 1)


def test_things_keep_their_colours_the_better_for_having_been_seen_beforehand(bundle: ModelBundle) -> None:
    """On a pan over a street: frame by frame, with what was seen so far, and with all of it from the first frame on."""
    image = wide()
    frames = [replace(frame, time=frame.time / 4) for frame in pan(49, image[:, :800])]
    found = []
    for name in ("autumn", "night-city"):
        look = find_look(name, bundle.manifest)
        alone, remembering, knowing = (video_stylizer(bundle, look, memory) for memory in (None, 600.0, 600.0))
        knowing.survey = survey(knowing, frames[::4])
        found.append([drift([one(f) for f in frames], frames, image) for one in (alone, remembering, knowing)])
    alone_drift, remembered_drift, known_drift = np.mean(found, 0)
    assert remembered_drift < 0.5 * alone_drift
    assert known_drift < 0.75 * remembered_drift


def test_restyling_a_clip_leaves_its_survey_as_it_was(bundle: ModelBundle, look: Look) -> None:
    """So that a clip that begins again becomes what it became before."""
    frames = two_shots()
    stylizer = video_stylizer(bundle, look)
    stylizer.survey = survey(stylizer, frames[::2])
    first, again = ([stylizer(frame).image for frame in frames] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_shot_that_the_survey_does_not_show_is_remembered_as_it_comes(bundle: ModelBundle, look: Look) -> None:
    frames = two_shots()
    plain, surveyed = (video_stylizer(bundle, look) for _ in range(2))
    surveyed.survey = survey(surveyed, frames[:4])
    wanted, found = ([one(frame).image for frame in frames] for one in (plain, surveyed))
    np.testing.assert_array_equal(found[4:], wanted[4:])
    assert any(np.abs(a.astype(int) - b).max() > 1 for a, b in zip(found[:4], wanted[:4], strict=True))
