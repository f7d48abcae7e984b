"""The networks in whose layers content and style are compared: VGG-19 and SqueezeNet 1.0, by torchvision.

Each set of weights was trained on pictures prepared in its own way; what is known about a file's origin is known
here and nowhere else. Activations are brought to the scale of Caffe's networks (pixels in 0..255, unscaled), in
which the paper's weights of the losses are stated.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import existing_file

Name = Literal["vgg19", "squeezenet"]
MAX_WEIGHT_BYTES = 1 << 30
_FIRES = {2: 3, 3: 4, 4: 5, 5: 7, 6: 8, 7: 9, 8: 10, 9: 12}
"""Place of each fire module in torchvision's Sequential."""
_VGG_BLOCKS = (2, 2, 4, 4, 4)


@dataclass(frozen=True)
class Preparation:
    """From sRGB in [0, 1] to what the weights expect: (x[order] - mean) * scale; and activations to Caffe's scale."""

    order: tuple[int, int, int]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    activations: float


CAFFE = Preparation((2, 1, 0), (104 / 255, 117 / 255, 123 / 255), (255.0,) * 3, 1.0)
TORCHVISION = Preparation((0, 1, 2), (0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225), 255 * 0.226)
"""torchvision divides by a standard deviation of about 0.226: its activations are 255 * 0.226 times smaller."""


class Features(nn.Module):
    """A network cut into named layers: relu1_1 ... relu5_4 of VGG-19; conv1, fire2 ... fire9 of SqueezeNet."""

    def __init__(self, name: Name, stack: nn.Sequential, preparation: Preparation, fingerprint: str) -> None:
        super().__init__()
        self.name, self.preparation, self.fingerprint = name, preparation, fingerprint
        self.stack = stack.eval().requires_grad_(False)
        self.layers = _layers(name)

    def check(self, layers: Sequence[str]) -> None:
        """UsageError naming a layer that this network does not have."""
        for layer in layers:
            if layer not in self.layers:
                raise UsageError(f"{self.name} has no layer {layer!r}, expected one of: {', '.join(self.layers)}")

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations (B, C, h, w) at each of `layers`, of sRGB pictures (B, 3, H, W) in [0, 1]."""
        p = self.preparation
        mean, scale = (image.new_tensor(v)[:, None, None] for v in (p.mean, p.scale))
        x = (image[:, list(p.order)] - mean) * scale
        wanted = {self.layers[layer]: layer for layer in layers}
        found = {}
        for place in range(max(wanted, default=-1) + 1):
            x = self.stack[place](x)
            if place in wanted:
                found[wanted[place]] = x * p.activations
        return found

    def follow(self, maps: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Region maps (B, R, H, W) followed through the network: soft maps (B, R, h, w) at each of `layers`.

        An average over each convolution's window and each pool's, as in Luan et al.'s code. Departure: windows at
        the border average what lies inside, where theirs count zeros and let every region fade there.
        """
        wanted = {self.layers[layer]: layer for layer in layers}
        found = {}
        for place in range(max(wanted, default=-1) + 1):
            maps = _follow(self.stack[place], maps)
            if place in wanted:
                found[wanted[place]] = maps
        return found


def _follow(module: nn.Module, maps: Tensor) -> Tensor:
    if isinstance(module, nn.Conv2d):
        (size, _), (stride, _) = module.kernel_size, module.stride
        assert isinstance(module.padding[0], int)
        return nn.functional.avg_pool2d(maps, size, stride, module.padding[0], count_include_pad=False)
    if isinstance(module, nn.MaxPool2d):
        assert isinstance(module.kernel_size, int)
        return nn.functional.avg_pool2d(maps, module.kernel_size, module.stride, ceil_mode=module.ceil_mode)
    if isinstance(module, torchvision.models.squeezenet.Fire):
        return nn.functional.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    return maps


def _layers(name: Name) -> dict[str, int]:
    """Name of each layer and its place in torchvision's Sequential."""
    if name == "squeezenet":
        return {"conv1": 1} | {f"fire{n}": place for n, place in _FIRES.items()}
    places, place = {}, 0
    for block, convolutions in enumerate(_VGG_BLOCKS, 1):
        for n in range(1, convolutions + 1):
            places[f"relu{block}_{n}"] = place + 1
            place += 2
        place += 1
    return places


def random_features(name: Name, seed: int = 0) -> Features:
    """An untrained network: for tests, and as the control that shows what training adds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stack = _architecture(name)
    return Features(name, stack, CAFFE, f"random-{seed}")


def load_features(name: Name, weights: Path | None = None, device: str = "cpu") -> Features:
    """The network, on a device (cpu or cuda), with the weights in a file or torchvision's own, downloaded once.

    Files: torchvision's state dict (.pth, read without running code, or .safetensors), VGG-19 as converted from
    Caffe for neural style (.pth with conv1_1.weight ...), SqueezeNet as converted from Caffe (.npz with conv1.w ...).
    UsageError for a missing file or device, HueglassError for one that is not these weights or cannot be downloaded.
    """
    if device != "cpu" and not (device == "cuda" and torch.cuda.is_available()):
        raise UsageError(f"--device {device}: expected cpu, or cuda where torch finds a CUDA device")
    with torch.device("meta"):  # values would only be drawn to be overwritten: a second for VGG-19
        stack = _architecture(name)
    if weights is None:
        state, preparation = _download(name), TORCHVISION
    else:
        state, preparation = _converted(name, read_tensors(existing_file(weights)))
    wanted = stack.state_dict()
    source = str(weights) if weights is not None else f"torchvision's {name}"
    for key, tensor in wanted.items():
        if key not in state or state[key].shape != tensor.shape or not state[key].isfinite().all():
            raise HueglassError(f"{source}: {key} is missing, not finite or of another shape, expected {name} weights")
    stack.to_empty(device="cpu").load_state_dict({key: state[key] for key in wanted})
    return Features(name, stack, preparation, _fingerprint(stack)).to(device)


def _architecture(name: Name) -> nn.Sequential:
    network = torchvision.models.vgg19() if name == "vgg19" else torchvision.models.squeezenet1_0()
    return network.features


def _fingerprint(stack: nn.Sequential) -> str:
    """Says which weights a result was made with."""
    digest = sha256()
    for tensor in stack.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _download(name: Name) -> dict[str, Tensor]:
    models = torchvision.models
    chosen = models.VGG19_Weights.IMAGENET1K_V1 if name == "vgg19" else models.SqueezeNet1_0_Weights.IMAGENET1K_V1
    try:
        return _stack_part(chosen.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise HueglassError(f"{chosen.url}: cannot be downloaded ({reason}): give --weights FILE") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The floating-point tensors of a file of weights by their names, as float32.

    HueglassError if it is too large or no such file.
    """
    if path.stat().st_size > MAX_WEIGHT_BYTES:
        raise HueglassError(f"{path}: is larger than {MAX_WEIGHT_BYTES} bytes, expected weights of a network")
    try:
        with warnings.catch_warnings(action="ignore"):
            return _tensors(path)
    except Exception:  # the readers promise no set of errors for a file that is damaged
        raise HueglassError(f"{path}: cannot be read, expected weights in .pth, .safetensors or .npz") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    """What else the file holds is left out."""
    if path.suffix == ".npz":
        # Opened here: of a damaged file numpy leaves open what it opened.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if sum(member.file_size for member in file.zip.infolist()) > MAX_WEIGHT_BYTES:
                raise ValueError("unpacks to more than any network holds")
            state = {key: torch.from_numpy(file[key]) for key in file.files}
    elif path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
    named = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    return {key: value.float() for key, value in named.items() if value.is_floating_point()}


def _converted(name: Name, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Preparation]:
    """Weights under torchvision's names in the stack, and how pictures are prepared for them."""
    if name == "squeezenet" and "conv1.w" in state:
        return _from_caffe_squeezenet(state), CAFFE
    if name == "vgg19" and "conv1_1.weight" in state:
        return _from_caffe_vgg(state), CAFFE
    return _stack_part(state), TORCHVISION


def _stack_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}


def _from_caffe_squeezenet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = {"squeeze": "conv1x1_1", "expand1x1": "conv1x1_2", "expand3x3": "conv3x3_2"}
    names = {"0": "conv1"} | {
        f"{place}.{ours}": f"fire{n}/{theirs}" for n, place in _FIRES.items() for ours, theirs in parts.items()
    }
    kinds = {"weight": "w", "bias": "b"}
    return {
        f"{ours}.{kind}": state[f"{theirs}.{short}"]
        for ours, theirs in names.items()
        for kind, short in kinds.items()
        if f"{theirs}.{short}" in state
    }


def _from_caffe_vgg(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{place - 1}.{kind}": state[f"{layer.replace('relu', 'conv')}.{kind}"]
        for layer, place in _layers("vgg19").items()
        for kind in ("weight", "bias")
        if f"{layer.replace('relu', 'conv')}.{kind}" in state
    }
