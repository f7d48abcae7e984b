"""The feature networks: their layers, region maps through them, and weights from files, good and bad."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from support.places import DATA

torch = pytest.importorskip("torch")

import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.train.features import Features, Name, load_features, random_features

State = dict[str, Tensor]
CAFFE_SQUEEZENET = DATA.parent / "models" / "squeezenet1_0.npz"
FIRES = {2: 3, 3: 4, 4: 5, 5: 7, 6: 8, 7: 9, 8: 10, 9: 12}
VGG_BLOCKS = {1: (64, 2), 2: (128, 2), 3: (256, 4), 4: (512, 4), 5: (512, 4)}
CAFFE_MEAN = (104, 117, 123)


@pytest.fixture(scope="module")
def squeezenet() -> Features:
    return random_features("squeezenet")


@pytest.fixture(scope="module")
def vgg() -> Features:
    return random_features("vgg19")


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def invented(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Weights of about unit gain and biases of about 1, so that nothing dies and a lost bias is seen."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) * max(1, int(np.prod(shape[1:]))) ** -0.5
        for key, shape in shapes.items()
    }


def squeezenet_state(seed: int = 0) -> State:
    """A random state dict under torchvision's names, the classifier included."""
    network = torchvision.models.squeezenet1_0().state_dict()
    return invented({key: tuple(value.shape) for key, value in network.items()}, seed)


def vgg_state() -> State:
    """The part of a state dict under torchvision's names that counts here."""
    shapes: dict[str, tuple[int, ...]] = {}
    before, place = 3, 0
    for channels, count in VGG_BLOCKS.values():
        for _ in range(count):
            shapes[f"features.{place}.weight"], shapes[f"features.{place}.bias"] = (channels, before, 3, 3), (channels,)
            before, place = channels, place + 2
        place += 1
    return invented(shapes)


def squeezenet_by_hand(state: State, x: Tensor) -> State:
    def convolved(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"features.{name}.weight"], state[f"features.{name}.bias"], stride, padding).relu()

    found = {"conv1": convolved(x, "0", stride=2)}
    x = F.max_pool2d(found["conv1"], 3, 2, ceil_mode=True)
    for n, place in FIRES.items():
        squeezed = convolved(x, f"{place}.squeeze")
        wide = [convolved(squeezed, f"{place}.expand1x1"), convolved(squeezed, f"{place}.expand3x3", padding=1)]
        x = found[f"fire{n}"] = torch.cat(wide, 1)
        if n in (4, 8):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    return found


def vgg_by_hand(state: State, x: Tensor) -> State:
    found, place = {}, 0
    for block, (_, count) in VGG_BLOCKS.items():
        for n in range(1, count + 1):
            weight, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
            x = found[f"relu{block}_{n}"] = F.conv2d(x, weight, bias, padding=1).relu()
            place += 2
        x, place = F.max_pool2d(x, 2), place + 1
    return found


def caffe_squeezenet(state: State) -> dict[str, np.ndarray]:
    """The same weights under the names of the published conversion of Caffe's model."""
    parts = {"squeeze": "conv1x1_1", "expand1x1": "conv1x1_2", "expand3x3": "conv3x3_2"}
    arrays = {"conv1.w": state["features.0.weight"].numpy(), "conv1.b": state["features.0.bias"].numpy()}
    for n, place in FIRES.items():
        for ours, theirs in parts.items():
            arrays[f"fire{n}/{theirs}.w"] = state[f"features.{place}.{ours}.weight"].numpy()
            arrays[f"fire{n}/{theirs}.b"] = state[f"features.{place}.{ours}.bias"].numpy()
    return arrays


def caffe_vgg(state: State) -> State:
    names = [f"conv{block}_{n}" for block, (_, count) in VGG_BLOCKS.items() for n in range(1, count + 1)]
    keys = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    return dict(zip(keys, state.values(), strict=True))


def for_caffe(image: Tensor) -> Tensor:
    """BGR in 0..255 less Caffe's mean, pixel by pixel."""
    red, green, blue = (image[:, c] * 255 for c in range(3))
    return torch.stack([c - m for c, m in zip((blue, green, red), CAFFE_MEAN, strict=True)], 1)


def for_torchvision(image: Tensor) -> Tensor:
    prepared: Tensor = torchvision.transforms.functional.normalize(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return prepared


def agree(features: Features, expected: State) -> None:
    """Same layers, and each the same to a thousandth of its largest value."""
    image = picture(33, 47)
    found = features(image, list(expected))
    assert list(found) == list(features.layers)
    for layer, values in expected.items():
        torch.testing.assert_close(found[layer], values, rtol=1e-4, atol=1e-4 * float(values.abs().max()))


# Layers


def test_squeezenet_has_its_layers_at_their_sizes(squeezenet: Features) -> None:
    found = squeezenet(picture(64, 81), list(squeezenet.layers))
    assert {layer: tuple(values.shape[1:]) for layer, values in found.items()} == {
        "conv1": (96, 29, 38),
        "fire2": (128, 14, 19),
        "fire3": (128, 14, 19),
        "fire4": (256, 14, 19),
        "fire5": (256, 7, 9),
        "fire6": (384, 7, 9),
        "fire7": (384, 7, 9),
        "fire8": (512, 7, 9),
        "fire9": (512, 3, 4),
    }


def test_vgg_has_its_layers_at_their_sizes(vgg: Features) -> None:
    found = vgg(picture(32, 53), list(vgg.layers))
    assert list(found) == [f"relu{block}_{n}" for block, (_, count) in VGG_BLOCKS.items() for n in range(1, count + 1)]
    for layer, values in found.items():
        block = int(layer[4])
        assert tuple(values.shape) == (1, VGG_BLOCKS[block][0], 32 >> block - 1, 53 >> block - 1)
        assert values.min() >= 0


def test_only_the_layers_asked_for_are_found_in_the_networks_order(squeezenet: Features) -> None:
    image = picture(40, 40)
    found = squeezenet(image, ["fire4", "conv1"])
    assert list(found) == ["conv1", "fire4"]
    torch.testing.assert_close(found["fire4"], squeezenet(image, ["fire4"])["fire4"])
    assert squeezenet(image, []) == {}


def test_an_unknown_layer_is_named_with_those_that_exist(squeezenet: Features, vgg: Features) -> None:
    squeezenet.check(["conv1", "fire9"])
    with pytest.raises(UsageError, match=r"squeezenet has no layer 'relu1_1', expected one of: conv1, fire2, .*fire9"):
        squeezenet.check(["fire2", "relu1_1"])
    with pytest.raises(UsageError, match=r"vgg19 has no layer 'conv1_1', expected one of: relu1_1, .*, relu5_4"):
        vgg.check(["conv1_1"])


def test_the_networks_are_not_trained_and_random_ones_are_repeated(squeezenet: Features) -> None:
    assert not any(p.requires_grad for p in squeezenet.parameters())
    assert not squeezenet.stack.training
    image = picture(32, 32)
    again, other = random_features("squeezenet"), random_features("squeezenet", 1)
    assert torch.equal(again(image, ["fire3"])["fire3"], squeezenet(image, ["fire3"])["fire3"])
    assert not torch.equal(other(image, ["fire3"])["fire3"], squeezenet(image, ["fire3"])["fire3"])
    assert other.fingerprint != squeezenet.fingerprint == again.fingerprint


def test_making_a_network_leaves_the_random_numbers_of_others_alone(tmp_path: Path) -> None:
    save_file(squeezenet_state(), tmp_path / "w.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_features("squeezenet", 3)
    load_features("squeezenet", tmp_path / "w.safetensors")
    assert torch.equal(torch.rand(3), expected)


# Region maps


def averaged(maps: Tensor, size: int, stride: int, padding: int = 0, ceil_mode: bool = False) -> Tensor:
    """The obvious loop: each window's mean over what of it lies inside; ceil_mode starts a last, cut-off window."""
    _, count, height, width = maps.shape
    rows, columns = (
        -(-(n + 2 * padding - size) // stride) + 1 if ceil_mode else (n + 2 * padding - size) // stride + 1
        for n in (height, width)
    )
    out = torch.zeros(1, count, rows, columns)
    for y in range(rows):
        for x in range(columns):
            top, left = y * stride - padding, x * stride - padding
            window = maps[0, :, max(0, top) : top + size, max(0, left) : left + size]
            out[0, :, y, x] = window.mean((1, 2))
    return out


def by_convolution(module: nn.Module, maps: Tensor) -> Tensor:
    """What a module's own geometry does with a kernel of ones, over what it does with a picture of ones."""
    if isinstance(module, torchvision.models.squeezenet.Fire):
        module = module.expand3x3
    if isinstance(module, nn.MaxPool2d):
        # The window cut off by the edge is made whole with zeros.
        spare = [-(n - module.kernel_size) % module.stride if module.ceil_mode else 0 for n in maps.shape[2:]]
        inside = F.pad(torch.ones_like(maps), (0, spare[1], 0, spare[0]))
        maps, stride, size, padding = F.pad(maps, (0, spare[1], 0, spare[0])), module.stride, module.kernel_size, 0
    elif isinstance(module, nn.Conv2d):
        inside = torch.ones_like(maps)
        stride, size, padding = module.stride[0], module.kernel_size[0], int(module.padding[0])
    else:
        return maps
    kernel, groups = torch.ones(maps.shape[1], 1, size, size), maps.shape[1]
    total, count = (F.conv2d(x, kernel, None, stride, padding, 1, groups) for x in (maps, inside))
    return total / count


def soft_maps(regions: int, height: int, width: int) -> Tensor:
    return torch.randn(1, regions, height, width, generator=torch.Generator().manual_seed(3)).mul(3).softmax(1)


def test_a_convolution_and_a_pool_average_as_the_obvious_loop_does(squeezenet: Features, vgg: Features) -> None:
    maps = soft_maps(2, 24, 31)
    found = squeezenet.follow(maps, ["conv1", "fire2"])
    expected = averaged(maps, 7, 2)
    torch.testing.assert_close(found["conv1"], expected)
    torch.testing.assert_close(found["fire2"], averaged(averaged(expected, 3, 2, ceil_mode=True), 3, 1, 1))
    found = vgg.follow(maps, ["relu1_1", "relu2_1"])
    expected = averaged(maps, 3, 1, 1)
    torch.testing.assert_close(found["relu1_1"], expected)
    expected = averaged(averaged(averaged(expected, 3, 1, 1), 2, 2), 3, 1, 1)
    torch.testing.assert_close(found["relu2_1"], expected)


@pytest.mark.parametrize("size", [(64, 64), (37, 50), (33, 90)])
@pytest.mark.parametrize("name", ["squeezenet", "vgg19"])
def test_maps_are_followed_like_activations_at_every_layer(name: Name, size: tuple[int, int], request: Any) -> None:
    features: Features = request.getfixturevalue({"squeezenet": "squeezenet", "vgg19": "vgg"}[name])
    layers = list(features.layers)
    found, maps = features(picture(*size), layers), soft_maps(3, *size)
    followed, ones = features.follow(maps, layers), features.follow(torch.ones(1, 1, *size), layers)
    places = {place: layer for layer, place in features.layers.items()}
    for place, module in enumerate(features.stack[: max(places) + 1]):
        maps = by_convolution(module, maps)
        if place not in places:
            continue
        layer = places[place]
        assert followed[layer].shape[2:] == found[layer].shape[2:]
        torch.testing.assert_close(followed[layer], maps, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(followed[layer].sum(1), torch.ones_like(maps[:, 0]), rtol=0, atol=1e-5)
        torch.testing.assert_close(ones[layer], torch.ones_like(ones[layer]), rtol=0, atol=1e-6)


# Weights


def saved(state: State, path: Path) -> Path:
    """A state dict in the format of the extension."""
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("file", ["w.pth", "w.safetensors"])
def test_squeezenet_of_torchvision_is_prepared_and_scaled_for(file: str, tmp_path: Path) -> None:
    state = squeezenet_state()
    features = load_features("squeezenet", saved(state, tmp_path / file))
    expected = squeezenet_by_hand(state, for_torchvision(picture(33, 47)))
    agree(features, {layer: values * 255 * 0.226 for layer, values in expected.items()})


def test_squeezenet_of_caffe_gets_bgr_less_the_mean(tmp_path: Path) -> None:
    state = squeezenet_state()
    np.savez(tmp_path / "w.npz", **caffe_squeezenet(state), **{"conv10.w": np.zeros(1, np.float32)})
    agree(load_features("squeezenet", tmp_path / "w.npz"), squeezenet_by_hand(state, for_caffe(picture(33, 47))))


@pytest.mark.parametrize("source", ["torchvision", "caffe"])
def test_vgg_of_either_source(source: str, tmp_path: Path) -> None:
    state = vgg_state()
    path = saved(state if source == "torchvision" else caffe_vgg(state), tmp_path / "w.pth")
    features = load_features("vgg19", path)
    path.unlink()  # 80 MB
    if source == "caffe":
        agree(features, vgg_by_hand(state, for_caffe(picture(33, 47))))
    else:
        expected = vgg_by_hand(state, for_torchvision(picture(33, 47)))
        agree(features, {layer: values * 255 * 0.226 for layer, values in expected.items()})


@pytest.mark.parametrize("source", ["torchvision", "caffe"])
def test_the_first_convolution_at_one_pixel_by_hand(source: str, tmp_path: Path) -> None:
    state, image = squeezenet_state(), picture(20, 22)
    path = tmp_path / ("w.npz" if source == "caffe" else "w.pth")
    if source == "caffe":
        np.savez(path, **caffe_squeezenet(state))
    else:
        torch.save(state, path)
    window = image[0, :, 4:11, 6:13].double().numpy()  # that of the pixel (2, 3), at stride 2
    if source == "caffe":
        seen = [window[2] * 255 - 104, window[1] * 255 - 117, window[0] * 255 - 123]
    else:
        seen = [(window[0] - 0.485) / 0.229, (window[1] - 0.456) / 0.224, (window[2] - 0.406) / 0.225]
    kernels = state["features.0.weight"].double().numpy()
    sums = [sum((k[c] * seen[c]).sum() for c in range(3)) for k in kernels] + state["features.0.bias"].double().numpy()
    expected = np.maximum(sums, 0) * (1 if source == "caffe" else 57.63)
    found = load_features("squeezenet", path)(image, ["conv1"])["conv1"][0, :, 2, 3]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_half_and_double_precision_are_taken_as_single(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in squeezenet_state().items()}
    double = {key: value.double() for key, value in state.items()}
    half = load_features("squeezenet", saved(state, tmp_path / "half.pth"))
    assert half.fingerprint == load_features("squeezenet", saved(double, tmp_path / "double.pth")).fingerprint
    assert {p.dtype for p in half.parameters()} == {torch.float32}


def test_a_fingerprint_tells_weights_apart_and_not_files(tmp_path: Path) -> None:
    one, two = squeezenet_state(0), squeezenet_state(1)
    prints = [
        load_features("squeezenet", saved(one, tmp_path / "a.pth")).fingerprint,
        load_features("squeezenet", saved(one, tmp_path / "b.safetensors")).fingerprint,
        load_features("squeezenet", saved(two, tmp_path / "c.pth")).fingerprint,
    ]
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 16


# Errors


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """The one line, less the path, with which a file is refused."""

    def load(path: Path, name: Name = "squeezenet") -> str:
        with pytest.raises(HueglassError) as caught:
            load_features(name, path)
        line = str(caught.value)
        assert not isinstance(caught.value, UsageError)
        assert line.startswith(f"{path}: ")
        assert "\n" not in line
        return line.removeprefix(f"{path}: ")

    return load


UNREADABLE = "cannot be read, expected weights in .pth, .safetensors or .npz"


def test_a_missing_file_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pth: no such file"):
        load_features("squeezenet", tmp_path / "none.pth")


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "tpu"])
def test_a_device_that_is_not_there_is_wrong_use(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match=f"--device {device}: expected cpu, or cuda where torch finds a CUDA device"):
        load_features("squeezenet", saved(squeezenet_state(), tmp_path / "w.pth"), device)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("content", [b"not weights", b"\x80\x04 pickle?", b"PK\x03\x04 zip?", bytes(1000)])
def test_garbage_is_refused(suffix: str, content: bytes, tmp_path: Path, refused: Any) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert refused(path) == UNREADABLE


@pytest.mark.parametrize("kind", ["zip.pth", "old.pth", "w.safetensors", "w.npz"])
def test_a_damaged_file_is_refused_or_read_and_nothing_else(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    state = {"features.0.weight": torch.rand(4, 3), "features.0.bias": torch.rand(4)}
    if kind.endswith("npz"):
        np.savez(path, **{key: value.numpy() for key, value in state.items()})
    elif kind == "old.pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        saved(state, path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with pytest.raises(HueglassError) as caught:  # what can be read is no SqueezeNet
            load_features("squeezenet", path)
        assert "\n" not in str(caught.value)


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".pth", ".npz"])
def test_a_pickle_that_would_run_code_does_not(suffix: str, tmp_path: Path, refused: Any) -> None:
    mark, path = tmp_path / "mark", tmp_path / f"w{suffix}"
    pickle.loads(pickle.dumps(_Touch(mark))).close()
    assert mark.exists()  # the trap works
    mark.unlink()
    path.write_bytes(pickle.dumps({"features.0.weight": _Touch(mark)}))
    assert refused(path) == UNREADABLE
    if suffix == ".npz":
        np.savez(path, **{"conv1.w": np.array([_Touch(mark)], object)})
    else:
        torch.save({"features.0.weight": _Touch(mark)}, path)
    assert refused(path) == UNREADABLE
    assert not mark.exists()


@pytest.mark.parametrize("thing", [torch.zeros(3, 2), [1, 2], 3, {1: torch.zeros(2)}, {"features.0.weight": "x"}])
def test_a_file_that_holds_something_else_is_refused(thing: object, tmp_path: Path, refused: Any) -> None:
    torch.save(thing, tmp_path / "w.pth")
    refused(tmp_path / "w.pth")


def test_an_array_that_claims_more_than_there_is_is_refused(tmp_path: Path, refused: Any) -> None:
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as file:
        file.writestr("conv1.w.npy", header.getvalue() + bytes(64))
    assert refused(tmp_path / "w.npz") == UNREADABLE


@pytest.mark.parametrize("fault", ["missing", "shape", "nan", "infinite", "integer"])
def test_weights_that_do_not_fit_are_named(fault: str, tmp_path: Path, refused: Any) -> None:
    state, key = squeezenet_state(), "features.7.expand3x3.weight"
    if fault == "missing":
        del state[key]
    elif fault == "shape":
        state[key] = state[key][:, :, :2]
    elif fault == "integer":
        state[key] = state[key].int()
    else:
        state[key][5, 3, 1, 2] = torch.nan if fault == "nan" else -torch.inf
    expected = "7.expand3x3.weight is missing, not finite or of another shape, expected squeezenet weights"
    assert refused(saved(state, tmp_path / "w.pth")) == expected


def test_the_weights_of_another_network_are_refused(tmp_path: Path, refused: Any) -> None:
    state = squeezenet_state()
    ends = ", not finite or of another shape, expected vgg19 weights"
    assert refused(saved(state, tmp_path / "w.pth"), "vgg19") == f"0.weight is missing{ends}"
    np.savez(tmp_path / "w.npz", **caffe_squeezenet(state))
    assert refused(tmp_path / "w.npz", "vgg19") == f"0.weight is missing{ends}"
    some = {key: value for key, value in vgg_state().items() if value.numel() < 1e5}
    caffe = {"conv1_1.weight": state["features.0.weight"]}
    for path in (saved(some, tmp_path / "v.pth"), saved(caffe, tmp_path / "c.pth")):
        assert refused(path).endswith("expected squeezenet weights")


@pytest.mark.parametrize("name", ["squeezenet", "vgg19"])
def test_without_a_network_the_way_out_is_named(name: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(HueglassError) as caught:
        load_features(name)
    line = str(caught.value)
    assert line.startswith(f"https://download.pytorch.org/models/{name}")
    assert line.endswith("cannot be downloaded (no route to host): give --weights FILE")
    assert "\n" not in line


# The published network


@pytest.mark.skipif(not CAFFE_SQUEEZENET.is_file(), reason="needs squeezenet1_0.npz in models/, see HUEGLASS_DATA")
def test_the_published_squeezenet_answers_at_a_plausible_scale() -> None:
    features = load_features("squeezenet", CAFFE_SQUEEZENET)
    layers = list(features.layers)
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="ij")
    scene = torch.stack([0.5 + 0.3 * x, 0.4 + 0.3 * y, 0.9 - 0.5 * y])[None]
    scene[:, :, 40:70, 30:60] = torch.tensor([0.8, 0.2, 0.1])[:, None, None]
    found = features(scene, layers)
    for values in found.values():
        assert values.isfinite().all()
        assert 0.1 < float(values.square().mean().sqrt()) < 1000
        assert 0.01 < float((values > 0).float().mean()) < 0.99
