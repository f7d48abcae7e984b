"""Looks: what is written is read back, and every region of a frame gets the right code."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from support.streets import picture_of_street

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import (
    MAX_REGIONS,
    Look,
    Task,
    assign,
    embedded_looks,
    find_look,
    make_look,
    mix_looks,
    read_look,
    unmatched,
    write_look,
)
from hueglass.infer.model.manifest import FORMAT, Manifest
from hueglass.infer.regions.masks import Mask, regions_of
from hueglass.infer.regions.regions import Regions, no_regions
from hueglass.infer.scene.stylizer import Stylizer

SIZES = {"thumbnail": 64, "slots": 8, "tones": 3, "code": 16, "depth": 8, "cells": 16, "remembered": 58}
MANIFEST = Manifest(format=FORMAT, model="a-model", graphs={}, **SIZES)


def look_of(*names: str) -> Look:
    """A look whose code number i is full of i, from 1 on; the tones' codes are full of -1, -2, -3."""
    numbers = np.arange(1, len(names) + 1, dtype=np.float32), -np.arange(1, MANIFEST.tones + 1, dtype=np.float32)
    codes, tones = (np.repeat(n[:, None], MANIFEST.code, axis=1) for n in numbers)
    return Look("a look", MANIFEST.model, tones, codes, names)


def regions_named(*names: str) -> Regions:
    """Regions side by side, the n-th of n+1 columns each wider than the one before."""
    size = MANIFEST.thumbnail // 2
    owner = np.arange(size) * len(names) // size
    maps = np.stack([np.repeat((owner == i)[None].astype(np.float32), size, axis=0) for i in range(len(names))])
    return Regions(maps, names)


def parts(task: Task) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    return task.maps, task.codes, task.names


def code_at(maps: np.ndarray, codes: np.ndarray, region: np.ndarray) -> float:
    """The one code that the pixels of `region` get, 0 if they are left to the tones."""
    mixed = np.einsum("nhw,nc->hwc", maps, codes[: len(maps)])[region > 0.5]
    assert np.ptp(mixed) == 0
    return float(mixed[0, 0])


@pytest.mark.parametrize("names", [(), ("sky",), ("sky", "Straße, nass", "海")])
def test_round_trip(tmp_path: Path, names: tuple[str, ...]) -> None:
    look = look_of(*names)
    write_look(tmp_path / "a.look", look)
    back = read_look(tmp_path / "a.look", MANIFEST)
    assert (back.name, back.model, back.names) == (look.name, look.model, look.names)
    assert back.codes.dtype == back.tones.dtype == np.float32
    np.testing.assert_array_equal(back.codes, look.codes)
    np.testing.assert_array_equal(back.tones, look.tones)
    assert [p.name for p in tmp_path.iterdir()] == ["a.look"]


def test_round_trip_of_a_mixture(tmp_path: Path) -> None:
    mixed = mix_looks(look_of("sky"), look_of("water", "sky"), 0.3, "between")
    write_look(tmp_path / "a.look", mixed)
    shares = read_look(tmp_path / "a.look", MANIFEST).shares
    np.testing.assert_array_equal(shares, mixed.shares)


@pytest.mark.parametrize("shares", [[1.0], [0.5, 1.1], [-0.1, 1.0], [0.5, np.nan]])
def test_broken_shares_are_refused(tmp_path: Path, shares: list[float]) -> None:
    broken = replace(look_of("sky", "water"), shares=np.array(shares, np.float32))
    write_look(tmp_path / "a.look", broken)
    with pytest.raises(HueglassError, match=r"a\.look: shares are"):
        read_look(tmp_path / "a.look", MANIFEST)


def test_file_is_plain_safetensors(tmp_path: Path) -> None:
    write_look(tmp_path / "a.look", look_of("sky"))
    data = (tmp_path / "a.look").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["codes"]["shape"] == [1, MANIFEST.code]
    assert header["tones"]["shape"] == [MANIFEST.tones, MANIFEST.code]
    assert json.loads(header["__metadata__"]["regions"]) == ["sky"]
    assert len(data) < 1000


def test_writing_to_a_wrong_place(tmp_path: Path) -> None:
    for target in ("a.png", "a", "no/folder/a.look"):
        with pytest.raises(UsageError, match=target):
            write_look(tmp_path / target, look_of())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", [("sky", "ground"), ("ground", "sky")])
def test_regions_are_matched_by_name(order: tuple[str, ...]) -> None:
    regions = regions_named(*order)
    maps, codes, names = parts(assign(look_of("sky", "ground"), regions, 8))
    assert names == order
    assert (maps.shape, codes.shape) == ((8, 32, 32), (8 + 3, 16))
    assert (maps.dtype, codes.dtype) == (np.float32, np.float32)
    for name, region in zip(regions.names, regions.maps, strict=True):
        assert code_at(maps, codes, region) == {"sky": 1, "ground": 2}[name]
    assert maps[2:].max() == codes[2:8].max() == 0
    np.testing.assert_array_equal(maps.sum(0), 1)
    np.testing.assert_array_equal(codes[8:, 0], [-1, -2, -3])


def test_unknown_regions_are_left_to_the_tones() -> None:
    regions = regions_named("sky", "water", "ground", "person")
    look = look_of("ground", "sky")
    maps, codes, names = parts(assign(look, regions, 8))
    assert names == ("sky", "ground")
    expected = {"sky": 2, "ground": 1, "water": 0, "person": 0}
    for name, region in zip(regions.names, regions.maps, strict=True):
        assert code_at(maps, codes, region) == expected[name]
    np.testing.assert_array_equal(maps.sum(0), regions.maps[0] + regions.maps[2])
    assert unmatched(look, regions) == ["water", "person"]


@pytest.mark.parametrize("regions", [regions_named("1", "2", "3"), no_regions(32)], ids=["strange", "none"])
def test_no_region_is_known(regions: Regions) -> None:
    maps, codes, names = parts(assign(look_of("sky", "ground"), regions, 8))
    assert names == ()
    assert maps.shape == (8, 32, 32)
    assert maps.max() == codes[:8].max() == 0
    np.testing.assert_array_equal(codes[8:, 5], [-1, -2, -3])


@pytest.mark.parametrize(("count", "strangers"), [(8, 0), (7, 1), (8, 1), (9, 0), (12, 3), (20, 0)])
def test_more_regions_than_slots(count: int, strangers: int) -> None:
    """The first ones, which are the largest, keep their own light; all others are left to the tones."""
    names = [str(i) for i in range(count)]
    regions = regions_named(*names, *(f"stranger {i}" for i in range(strangers)))
    maps, codes, given = parts(assign(look_of(*names), regions, 8))
    assert given == tuple(names[:8])
    for i, region in enumerate(regions.maps):
        assert code_at(maps, codes, region) == (i + 1 if i < min(count, 8) else 0)


def test_one_slot() -> None:
    regions = regions_named("sky", "ground")
    maps, codes, names = parts(assign(look_of("sky", "ground"), regions, 1))
    assert names == ("sky",)
    np.testing.assert_array_equal(maps[0], regions.maps[0])
    np.testing.assert_array_equal(codes[:, 0], [1, -1, -2, -3])


def test_make_look(bundle: ModelBundle) -> None:
    """Each region has its own code, whatever the number of regions, and the tones do not depend on them."""
    reference = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    plain = make_look(bundle, "plain", reference)
    assert (plain.model, plain.names) == (bundle.manifest.model, ())
    assert plain.codes.shape == (0, bundle.manifest.code)
    assert plain.tones.shape == (bundle.manifest.tones, bundle.manifest.code)
    columns = np.minimum(np.arange(100) // 5, 19).astype(np.uint8)
    mask = Mask(np.repeat(columns[None], 120, axis=0), tuple(f"r{i}" for i in range(20)))
    look = make_look(bundle, "parts", reference, regions_of(mask, bundle.manifest.thumbnail // 2))
    assert look.names == mask.names
    assert look.codes.shape == (20, bundle.manifest.code)
    assert np.isfinite(look.codes).all()
    np.testing.assert_allclose(look.tones, plain.tones, atol=1e-4)


def test_make_look_keeps_the_largest_regions(bundle: ModelBundle) -> None:
    rows = np.repeat(np.arange(100, dtype=np.uint8)[:, None], 100, axis=1)
    rows[-2:] = 97
    names = tuple(str(i) for i in range(256))
    regions = regions_of(Mask(rows, names), bundle.manifest.thumbnail // 2)
    look = make_look(bundle, "many", np.zeros((100, 100, 3), np.uint8), regions)
    assert len(look.names) == len(look.codes) == MAX_REGIONS
    assert look.names[0] == "97"


def test_made_looks_do_not_depend_on_the_order_of_regions(bundle: ModelBundle) -> None:
    reference = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    labels = np.zeros((64, 64), np.uint8)
    labels[:20] = 1
    size = bundle.manifest.thumbnail // 2
    first = make_look(bundle, "a", reference, regions_of(Mask(labels, ("ground", "sky")), size))
    second = make_look(bundle, "a", reference, regions_of(Mask(1 - labels, ("sky", "ground")), size))
    a, b = (dict(zip(look.names, look.codes, strict=True)) for look in (first, second))
    assert set(a) == {"sky", "ground"}
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-4)


def test_find_look(bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = embedded_looks()[0]
    embedded = find_look(name, bundle.manifest)
    write_look(tmp_path / "other.look", replace(embedded, name="other", codes=embedded.codes + 1))
    assert find_look("other.look", bundle.manifest).name == "other"
    (tmp_path / name).write_bytes(b"in the way")
    np.testing.assert_array_equal(find_look(name, bundle.manifest).codes, embedded.codes)
    with pytest.raises(UsageError, match=name):
        find_look("other", bundle.manifest)


def test_mixing_looks() -> None:
    a, b = look_of("sky", "house"), look_of("water", "sky")
    mixed = mix_looks(a, b, 0.25, "between")
    assert (mixed.name, mixed.model, mixed.names) == ("between", a.model, ("sky", "house", "water"))
    np.testing.assert_allclose(mixed.tones, 0.75 * a.tones + 0.25 * b.tones)
    # sky is 1 in one and 2 in the other; the other two are known to one alone, and left to the tones in part.
    np.testing.assert_allclose(mixed.codes[:, 0], [0.75 * 1 + 0.25 * 2, 2, 1])
    assert mixed.shares is not None
    np.testing.assert_allclose(mixed.shares, [1, 0.75, 0.25])
    assert mixed.codes.dtype == mixed.tones.dtype == mixed.shares.dtype == np.float32
    regions = regions_named("house", "sky", "person")
    maps, codes, names = parts(assign(mixed, regions, 8))
    assert names == ("house", "sky")
    np.testing.assert_allclose(maps[:2], regions.maps[:2] * np.float32([[[0.75]], [[1]]]))
    np.testing.assert_allclose(codes[:2, 0], [2, 1.25])


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_both_ends_of_a_mixture_are_the_looks(weight: float) -> None:
    a, b = look_of("sky", "house"), look_of("water", "sky")
    end, mixed = (a, b)[int(weight)], mix_looks(a, b, weight, "end")
    own = dict(zip(mixed.names, mixed.codes, strict=True))
    assert set(own) == set(end.names)
    assert mixed.shares is None
    np.testing.assert_array_equal([own[name] for name in end.names], end.codes)
    np.testing.assert_array_equal(mixed.tones, end.tones)


def test_a_mixture_of_mixtures() -> None:
    """As of a cross-fade that begins before another is over."""
    a, b, c = look_of("sky"), look_of("water"), look_of("sky", "water")
    mixed = mix_looks(mix_looks(a, b, 0.4, "ab"), c, 0.5, "abc")
    assert mixed.names == ("sky", "water")
    assert mixed.shares is not None
    np.testing.assert_allclose(mixed.shares, [0.5 * 0.6 + 0.5, 0.5 * 0.4 + 0.5], rtol=1e-6)
    np.testing.assert_allclose(mixed.codes[:, 0], [1, (0.2 * 1 + 0.5 * 2) / 0.7], rtol=1e-6)


def test_no_jump_where_a_cross_fade_ends(bundle: ModelBundle) -> None:
    """Of looks that know other regions, on a frame with regions."""
    a, b = (find_look(name, bundle.manifest) for name in ("golden-hour", "moonlight"))
    assert set(a.names) - set(b.names)
    image = picture_of_street(1, 0.0, 320, 240)
    stylizer = Stylizer(bundle, b, segmenter=bundle.segmenter)
    grids = []
    for look in (b, mix_looks(a, b, 1 - 1e-3, ""), a, mix_looks(a, b, 1e-3, "")):
        stylizer.look = look
        grids.append(stylizer.predict(Frame(image, 0.0, 0)))
    step = np.abs(grids[0] - grids[2]).mean() / 1000
    assert np.abs(grids[0] - grids[1]).mean() < 3 * step
    assert np.abs(grids[2] - grids[3]).mean() < 3 * step


def test_mixing_looks_without_regions() -> None:
    assert mix_looks(look_of(), look_of(), 0.5, "x").codes.shape == (0, MANIFEST.code)


def test_mixing_too_many_regions_keeps_what_a_file_may_hold() -> None:
    many = (look_of(*(f"{side}{i}" for i in range(MAX_REGIONS))) for side in "ab")
    assert len(mix_looks(*many, 0.5, "x").names) == MAX_REGIONS


def test_mixing_refuses() -> None:
    with pytest.raises(UsageError, match=r"weight 1\.5, expected 0 to 1"):
        mix_looks(look_of(), look_of(), 1.5, "x")
    with pytest.raises(HueglassError, match="looks of different models, a-model and another, cannot be mixed"):
        mix_looks(look_of(), replace(look_of(), model="another"), 0.5, "x")


@pytest.mark.parametrize("weight", [0.25, 0.5])
def test_a_mixed_look_lies_between(bundle: ModelBundle, weight: float) -> None:
    """Not only its numbers: the grids that the model makes of it."""
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = np.asarray(PIL.Image.fromarray(image).resize((320, 240)))
    a, b = (find_look(name, bundle.manifest) for name in embedded_looks()[:2])
    first, second, between = (
        Stylizer(bundle, look)(Frame(image, 0.0, 0)).image.astype(float)
        for look in (a, b, mix_looks(a, b, weight, "x"))
    )
    assert np.abs(first - second).mean() > 10
    assert np.abs(between - ((1 - weight) * first + weight * second)).mean() < 0.1 * np.abs(first - second).mean()
