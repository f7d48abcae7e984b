"""The embedded model's outputs stay what they were: photographs and the decoded frames of a clip, look by look.

`kept_outputs.json` has, of each output, a checksum and the mean colours of 4 x 3 parts in tenths of a level. Networks
and resizing round another way on other processors and in other versions of their libraries: the checksums hold where
the file was made, the mean colours, to one level, everywhere. `python tests/test_kept_outputs.py` makes the file anew:
for a new model.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import pytest
from support.streets import picture_of_street

from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.grid.cpu import native
from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.regions.segmenter import find_regions
from hueglass.infer.scene.clip import stylize_clip
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.infer.ycbcr import to_rgb

KEPT = Path(__file__).with_name("kept_outputs.json")
LIBRARIES = ("numpy", "opencv-python", "onnxruntime", "av")
WIDTH, HEIGHT, RATE, FRAMES = 320, 180, 25, 14
Outputs = Iterator[tuple[str, np.ndarray | YuvImage]]


def place() -> dict[str, str]:
    """What the last bit of an output depends on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except ImportError:
            versions[name] = "missing"
    return {"cpu": model, "renderer": (*native.paths(), "numpy")[0], **versions}


def photographs(bundle: ModelBundle) -> Outputs:
    """Each look on one picture, with nothing known of it and with what the segmenter finds."""
    frame = Frame(picture_of_street(0, 0.0, WIDTH, HEIGHT), 0.0, 0)
    segmenter = bundle.segmenter
    assert segmenter is not None
    regions = find_regions(segmenter, bundle.thumbnail(frame.image))
    for name in embedded_looks():
        stylizer = Stylizer(bundle, find_look(name, bundle.manifest))
        yield f"photo {name}", stylizer(frame).image
        yield f"photo {name} with regions", stylizer(frame, regions).image


def clips(bundle: ModelBundle, folder: Path) -> Outputs:
    """Each look on a clip with a cut in it, as `video` does it: some of its frames."""
    path = folder / "clip.mkv"
    write_clip(path)
    for name in embedded_looks():
        stylizer = StylizerSettings(bundle.segmenter, region_period=0.0).stylizer(
            bundle, find_look(name, bundle.manifest)
        )
        with VideoSource(path) as source:
            for frame, out in stylize_clip(stylizer, source.as_decoded()):
                if frame.index % 5 == 3:
                    yield f"clip {name} frame {frame.index}", out.image


def write_clip(path: Path) -> None:
    """FFV1, which loses nothing, from two streets."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        for i in range(FRAMES):
            image = picture_of_street(i // 9, i / RATE, WIDTH, HEIGHT)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def described(image: np.ndarray | YuvImage) -> dict[str, object]:
    planes = image.planes if isinstance(image, YuvImage) else (image,)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)).hexdigest()
    picture = 255 * to_rgb(image) if isinstance(image, YuvImage) else image.astype(np.float32)
    parts = picture.reshape(3, HEIGHT // 3, 4, WIDTH // 4, 3).mean((1, 3))
    return {"sha256": digest[:32], "means": np.rint(10 * parts).astype(int).ravel().tolist()}


def outputs(folder: Path) -> dict[str, dict[str, object]]:
    bundle = ModelBundle(threads=1)
    return {name: described(image) for make in (photographs(bundle), clips(bundle, folder)) for name, image in make}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    return outputs(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def kept() -> dict:
    return json.loads(KEPT.read_text())


def test_every_output_has_the_colours_that_it_had(found: dict, kept: dict) -> None:
    assert found.keys() == kept["outputs"].keys()
    assert len(found) == len(embedded_looks()) * 5
    for name, output in found.items():
        np.testing.assert_allclose(output["means"], kept["outputs"][name]["means"], atol=10, err_msg=name)


def test_every_output_is_what_it_was_to_the_byte(found: dict, kept: dict) -> None:
    if (here := place()) != kept["place"]:
        pytest.skip(f"made elsewhere: {kept['place']}, here {here}")
    other = [name for name, output in found.items() if output["sha256"] != kept["outputs"][name]["sha256"]]
    assert other == []


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        made = {"place": place(), "outputs": outputs(Path(name))}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(output)}" for name, output in made["outputs"].items())
    KEPT.write_text(f'{{"place": {json.dumps(made["place"])},\n"outputs": {{\n{lines}\n}}}}\n')
    print(f"{KEPT}: {len(made['outputs'])} outputs", file=sys.stderr)
