"""The segmenter's network: what it promises, what it starts from, and how it lies on disk."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.train.segmenter.network import (
    SETTINGS,
    WEIGHTS,
    Segmenter,
    SegmenterConfig,
    load_segmenter,
    save_segmenter,
)

SMALL = SegmenterConfig(thumbnail=64, seen=64)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    network = Segmenter(SMALL)
    torch.nn.init.normal_(network.name.weight, std=2)
    return network.eval()


def pictures(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_it_gives_soft_maps_at_half_size_that_sum_to_one(segmenter: Segmenter) -> None:
    with torch.no_grad():
        maps = segmenter(pictures())
    assert maps.shape == (2, 8, 32, 32)
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.sum(1), 1, atol=1e-5)
    assert maps.std() > 0.05


def test_its_maps_are_the_softmax_of_its_logits(segmenter: Segmenter) -> None:
    with torch.no_grad():
        maps, logits = segmenter(pictures()), segmenter.logits(pictures())
    np.testing.assert_allclose(maps, torch.softmax(logits, 1), atol=1e-6)


def test_certainty_beyond_all_bounds_stays_finite() -> None:
    network = Segmenter(SMALL).eval()
    torch.nn.init.normal_(network.name.weight, std=1e6)
    with torch.no_grad():
        maps = network(pictures())
    assert maps.isfinite().all()
    np.testing.assert_allclose(maps.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [64, 192, 256])
def test_every_size_of_thumbnail_is_halved_exactly(size: int) -> None:
    with torch.no_grad():
        assert Segmenter(SegmenterConfig(thumbnail=size, seen=size)).eval()(pictures(1, size)).shape == (
            1,
            8,
            size // 2,
            size // 2,
        )


def test_its_parameters_are_fewer_than_a_million_and_a_half() -> None:
    assert sum(p.numel() for p in Segmenter(SegmenterConfig()).parameters()) < 1_500_000


def test_it_is_read_as_it_was_written(segmenter: Segmenter, tmp_path: Path) -> None:
    save_segmenter(tmp_path, segmenter, {"step": 7})
    again, facts = load_segmenter(tmp_path)
    assert facts == {"step": 7}
    assert again.config == SMALL
    assert not again.training
    with torch.no_grad():
        assert torch.equal(again(pictures()), segmenter(pictures()))


def test_a_folder_without_a_segmenter_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{tmp_path}: no segmenter here"):
        load_segmenter(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (SETTINGS, b"{"),
        (SETTINGS, b"[]"),
        (SETTINGS, b'{"segmenter": {"thumbnail": 3}}'),
        (SETTINGS, b'{"segmenter": {"widths": [16, 16, 16, 16]}}'),
        (WEIGHTS, b"nothing"),
    ],
)
def test_a_broken_checkpoint_is_one_line(segmenter: Segmenter, tmp_path: Path, file: str, content: bytes) -> None:
    save_segmenter(tmp_path, segmenter, {})
    (tmp_path / file).write_bytes(content)
    with pytest.raises(HueglassError, match="broken checkpoint") as caught:
        load_segmenter(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("widths", [(16, 32, 48), (0, 32, 48, 64), (16, 32, 48, 4096)])
def test_widths_out_of_bounds_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="widths"):
        SegmenterConfig.model_validate({"widths": widths})
