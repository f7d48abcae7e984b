"""The segmenter's trunk: what it sees at which size, and the weights that it starts from."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.train.segmenter.trunk import CHANNELS, Block, Trunk, load_trunk

Weights = dict[str, torch.Tensor]


def theirs(trunk: Trunk) -> Weights:
    """Random weights under the names of EfficientNet-Lite0's authors, of the trunk's shapes; and a block that is not
    in the trunk."""
    torch.manual_seed(4)
    found: Weights = {}
    found |= named(trunk.stem, ("_conv_stem", "_bn0"), "")
    for i, block in enumerate(trunk.blocks):
        assert isinstance(block, Block)
        names = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        for part, pair in zip(block.parts, names[-len(block.parts) :], strict=True):
            found |= named(part, pair, f"_blocks.{i}.")
    return found | {"_blocks.12._expand_conv.weight": torch.ones(2), "_bn0.num_batches_tracked": torch.tensor(3)}


def named(part: torch.nn.Module, names: tuple[str, str], before: str) -> Weights:
    return {
        f"{before}{name}.{key}": torch.rand_like(value)
        for name, module in zip(names, part, strict=False)
        for key, value in module.state_dict().items()
        if value.is_floating_point()
    }


def test_it_sees_a_picture_at_four_sizes() -> None:
    with torch.no_grad():
        levels = Trunk().eval()(torch.rand(2, 3, 64, 64))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (channels, size, size) for channels, size in zip(CHANNELS, (16, 8, 4, 2), strict=True)
    ]


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_it_starts_as_the_network_it_is_given(tmp_path: Path, suffix: str) -> None:
    trunk = Trunk().eval()
    weights, path = theirs(trunk), tmp_path / f"lite0.{suffix}"
    save_file(weights, path) if suffix == "safetensors" else torch.save(weights, path)
    load_trunk(trunk, path)
    x = torch.rand(1, 3, 32, 32)
    stem = torch.nn.functional.conv2d((x * 255 - 127) / 128, weights["_conv_stem.weight"], stride=2, padding=1)
    norm = [weights[f"_bn0.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
    wanted = torch.nn.functional.batch_norm(stem, *norm, eps=1e-3).clamp(0, 6)
    with torch.no_grad():
        torch.testing.assert_close(trunk.stem((x - 127 / 255) / (128 / 255)), wanted)
    own = trunk.state_dict()
    assert torch.equal(own["blocks.0.parts.0.0.weight"], weights["_blocks.0._depthwise_conv.weight"])
    assert torch.equal(own["blocks.0.parts.1.1.running_var"], weights["_blocks.0._bn2.running_var"])
    assert torch.equal(own["blocks.11.parts.0.0.weight"], weights["_blocks.11._expand_conv.weight"])
    assert torch.equal(own["blocks.11.parts.2.1.bias"], weights["_blocks.11._bn2.bias"])


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    trunk = Trunk()
    good = theirs(trunk)
    for name, value in (
        ("_blocks.3._bn1.bias", None),
        ("_conv_stem.weight", torch.rand(32, 3, 5, 5)),
        ("_blocks.7._project_conv.weight", torch.full((80, 480, 1, 1), torch.nan)),
    ):
        weights = {key: v for key, v in good.items() if key != name} | ({} if value is None else {name: value})
        save_file(weights, tmp_path / "w.safetensors")
        with pytest.raises(HueglassError, match=f"w.safetensors: {name} is missing, not finite or of another shape"):
            load_trunk(trunk, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"none\.pth: no such file"):
        load_trunk(trunk, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(HueglassError, match=r"text\.pth: cannot be read, expected weights"):
        load_trunk(trunk, tmp_path / "text.pth")
