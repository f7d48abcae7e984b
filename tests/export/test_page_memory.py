"""The page remembers a scene and follows its light as Python does: its modules, run by node."""

import cv2
import numpy as np
import pytest
from support.browser import text_of
from support.page_modules import by_node, needs_node
from support.site import decoded
from support.streets import picture_of_street

from hueglass.infer.regions.regions import Regions, no_regions
from hueglass.infer.scene.light import LightFollower, relit
from hueglass.infer.scene.memory import Picture, SceneMemory

SLOTS, TONES, REMEMBERED = 3, 2, 48
STREET = picture_of_street(0, 0.0, 480, 270)


def windows(count: int) -> list[np.ndarray]:
    """Thumbnails (256, 256, 3) of a camera that pans over a street while the light changes."""
    found = []
    for i in range(count):
        left, top = round(i / count * 160), round(i / count * 60)
        small = cv2.resize(STREET[top : top + 210, left : left + 320], (256, 256), interpolation=cv2.INTER_AREA)
        found.append(np.clip(small * np.array([1.1, 1, 0.8]) ** (i / count) + 0.5, 0, 255).astype(np.uint8))
    return found


@needs_node
def test_the_light_is_followed_as_python_does() -> None:
    pictures = [*windows(20), np.full((256, 256, 3), 90, np.uint8), *windows(3)]
    follower = LightFollower()
    wanted, moved = [], []
    for picture in pictures:
        wanted.append(follower.update(picture))
        moved.append(None if follower.moved is None else follower.moved.ravel())
    script = """
      const { LightFollower } = await import(page + '/light.js');
      const follower = new LightFollower();
      console.log(JSON.stringify(given.map((picture) => [follower.update(bytes(picture), 256), follower.moved])));
    """
    found = by_node(script, [text_of(picture) for picture in pictures])
    np.testing.assert_allclose([gain for gain, _ in found], wanted, rtol=2e-3)
    for (_, ours), theirs in zip(found, moved, strict=True):
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, atol=5e-3)
    assert moved[0] is None
    assert moved[1] is not None
    assert np.abs(np.log(wanted)).max() > 0.05


@needs_node
def test_names_stay_in_their_places_as_python_has_it() -> None:
    """A camera that pans there and back, what it shows is called now by one name, now by another, and things change."""
    rng = np.random.default_rng(2)
    there = windows(14)
    pictures = [*there, *there[::-1]]
    pictures[20] = np.clip(pictures[20].astype(int) + (np.arange(256)[:, None, None] > 128) * 90, 0, 255).astype(
        np.uint8
    )
    names = ("sky", "building", "other")
    found = []
    for _ in pictures:
        coarse = rng.dirichlet(np.full(3, 0.7), (6, 6)).astype(np.float32)
        maps = cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
        found.append(np.ascontiguousarray(maps))
    memory, wanted = SceneMemory(SLOTS, 600.0), []
    for i, (maps, thumbnail) in enumerate(zip(found, pictures, strict=True)):
        memory.follow(thumbnail)
        wanted.append(memory.named(Regions(maps, names), thumbnail, 0.1 * i).maps)
    script = """
      const { SceneMemory } = await import(page + '/memory.js');
      const memory = new SceneMemory(3, 48);
      console.log(JSON.stringify(given.pictures.map((picture, i) => {
        const [thumbnail, maps] = [bytes(picture), new Float32Array(bytes(given.found[i]).buffer)];
        memory.follow(thumbnail, 256);
        return text(memory.named({ maps, names: given.names }, thumbnail, 256, 0.1 * i).maps);
      })));
    """
    sent = {"pictures": [text_of(p) for p in pictures], "found": [text_of(maps) for maps in found], "names": names}
    assert len(memory.light.views) > 1
    for ours, theirs in zip(by_node(script, sent), wanted, strict=True):
        gaps = np.abs(decoded(ours) - theirs.ravel())
        assert gaps.mean() < 2e-3
        assert np.quantile(gaps, 0.999) < 0.1


@needs_node
def test_sums_are_relit_as_python_does() -> None:
    rows = np.random.default_rng(0).random((6, REMEMBERED))
    gain = np.array([1.3, 0.9, 0.6])
    script = """
      const { relit } = await import(page + '/light.js');
      console.log(JSON.stringify(given.rows.map((row) => [...relit(row, given.gain)])));
    """
    found = by_node(script, {"rows": rows.tolist(), "gain": gain.tolist()})
    np.testing.assert_allclose(found, relit(rows, gain), rtol=1e-9, atol=1e-12)


@needs_node
@pytest.mark.parametrize("seconds", [600.0, 2.0])
def test_a_scene_is_remembered_as_python_does(seconds: float) -> None:
    """Regions that come, go and change their slots; then another look, told of the pictures that were kept."""
    rng = np.random.default_rng(1)
    names = (("sky", "ground"), ("ground", "sky", "water"), ("water",), (), ("sky", "water"))
    steps = []
    for i in range(15):
        mass = rng.dirichlet(np.ones(SLOTS + TONES) * 0.5)[:, None]
        rows = np.concatenate([mass, mass * rng.random((len(mass), REMEMBERED - 1))], 1)
        steps.append((np.concatenate([rows, rows.sum(0)[None]]).astype(np.float32), names[i % 5], 0.4 * i))
    pictures = windows(len(steps))
    memory, told = SceneMemory(SLOTS, seconds), []
    for (sums, known, time), thumbnail in zip(steps, pictures, strict=True):
        memory.follow(thumbnail)
        memory.remember(sums, Picture(thumbnail, no_regions(32), memory.gain), known, time)
        told.append(memory.recall(("water", "sky")))
    other = memory.retold(lambda picture: (2 * steps[0][0], ("sky",)))
    script = """
      const { SceneMemory } = await import(page + '/memory.js');
      const { slots, remembered, seconds, steps, pictures } = given;
      const memory = new SceneMemory(slots, remembered, seconds);
      const floats = (sums) => new Float32Array(bytes(sums).buffer);
      const told = steps.map(([sums, names, time], i) => {
        const thumbnail = bytes(pictures[i]);
        memory.follow(thumbnail, 256);
        memory.remember(floats(sums), { thumbnail, gain: memory.gain }, names, time);
        return text(memory.recall(["water", "sky"]));
      });
      const twice = floats(steps[0][0]).map((value) => 2 * value);
      const other = await memory.retold(() => ({ sums: twice, names: ["sky"] }));
      console.log(JSON.stringify([told, text(other.recall(["sky"])), memory.known, memory.pictures.length]));
    """
    sent = {"slots": SLOTS, "remembered": REMEMBERED, "seconds": seconds, "pictures": [text_of(p) for p in pictures]}
    sent["steps"] = [(text_of(sums), known, time) for sums, known, time in steps]
    found, retold, known_for, kept = by_node(script, sent)
    for ours, wanted in zip([*found, retold], [*told, other.recall(("sky",))], strict=True):
        assert wanted is not None
        np.testing.assert_allclose(decoded(ours), wanted.ravel(), rtol=1e-2, atol=0.5)
    assert known_for == pytest.approx(memory.known)
    assert kept == len(memory.pictures)
