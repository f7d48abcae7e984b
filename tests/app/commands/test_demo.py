"""`hueglass demo`: its clips and pictures."""

from collections.abc import Callable
from pathlib import Path

import av
from support.photographs import distance, done

from hueglass.infer.media.images import read_image
from hueglass.infer.model.look import embedded_looks

LOOK = embedded_looks()[0]


def test_demo(run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "demo"
    printed = done(run("demo", "-o", out, "--look", LOOK, "--seconds", "0.2", "--seed", "7"))
    assert LOOK in printed
    names = ["street.mp4", "stylized.mp4", "strip.jpg", "looks.jpg"]
    assert printed.split()[-4:] == [str(out / name) for name in names]
    assert sorted(p.name for p in out.iterdir()) == sorted(names)
    first = []
    for name in names[:2]:
        with av.open(str(out / name)) as clip:
            frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
        assert (len(frames), frames[0].shape) == (5, (720, 1280, 3))
        first.append(frames[0])
    assert distance(*first) > 3
    rows = -(-(1 + len(embedded_looks())) // 3)
    assert read_image(out / "looks.jpg").shape == (270 * rows, 480 * 3, 3)
