"""The command line. Heavy things are imported inside the commands that need them."""

import ctypes
import os
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from hueglass import __version__
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.smoothing import AHEAD, SECONDS

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

app = typer.Typer(
    help="Live video in the light of any photograph.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
look_app = typer.Typer(help="Looks: the light of a reference photograph, kept in a small file.", no_args_is_help=True)
app.add_typer(look_app, name="look")
evaluate_app = typer.Typer(help="Measure models and other methods.", no_args_is_help=True)
app.add_typer(evaluate_app, name="evaluate")
web_app = typer.Typer(help="The page for glasses and phones, on any web host.", no_args_is_help=True)
app.add_typer(web_app, name="web")
study_app = typer.Typer(help="A blind survey of methods, side by side.", no_args_is_help=True)
app.add_typer(study_app, name="study")

Strength = Annotated[
    float, typer.Option(min=0, max=2, help="0 leaves the picture as it is, 1 is the look in full, more exaggerates.")
]
RegionStrengths = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="NAME=STRENGTH", help="Another strength for a region, e.g. person=0. Repeat."),
]
Style = Annotated[Path | None, typer.Option(metavar="PHOTO", help="Reference photograph whose light to take.")]
LookName = Annotated[str | None, typer.Option("--look", metavar="NAME|FILE", help="Embedded look or .look file.")]
Model = Annotated[
    Path | None, typer.Option("--model", metavar="DIR", help="Model bundle; the embedded one if left out.")
]
Device = Annotated[
    str, typer.Option(help="Where the network runs: cpu, cuda, tensorrt, ort-tensorrt, or auto for the best here.")
]
Precision = Annotated[str, typer.Option(help="Of the network: fp32, fp16 or int8 (as quick CPUs like it).")]
AutoRegions = Annotated[
    bool, typer.Option("--auto-regions", help="Find sky, buildings, vegetation, ... by the model's segmenter.")
]
SegmenterFile = Annotated[
    Path | None, typer.Option("--segmenter", metavar="FILE", help="Find regions by this ONNX segmenter instead.")
]
LabelMap = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="JSON: names of the segmenter's classes.")
]
Smoothing = Annotated[float, typer.Option(min=0, max=10, help="Seconds over which the look settles; 0: none.")]
Ahead = Annotated[
    float, typer.Option("--ahead", min=0, max=2, help="Seconds by which light is seen before it falls; 0: as live.")
]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Of the network; downloaded if left out.")]
OUTPUTS = typer.Argument(metavar="OUTPUTS", help="Folders with a method's pictures NN.png; or NAME=FOLDER.")
PairsFolder = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Folder with content, style, their masks and official.")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hueglass {__version__}")
        raise typer.Exit


@app.callback()
def _options(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    pass


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the results go.")] = Path("demo"),
    look: Annotated[str, typer.Option(metavar="NAME|FILE", help="Embedded look or .look file.")] = "golden-hour",
    seconds: Annotated[float, typer.Option(min=0.2, max=60)] = 6.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another street.")] = 0,
) -> None:
    """Stylize a generated street clip with an embedded look: clip, before/after strip, measurements."""
    from hueglass.commands.demo import run_demo

    run_demo(folder, look, seconds, seed)


@app.command()
def photo(
    source: Annotated[Path, typer.Argument(metavar="IN")],
    target: Annotated[Path, typer.Argument(metavar="OUT")],
    style: Style = None,
    look: LookName = None,
    masks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="IN_MASK REF_MASK", help="Which part is which, in both photographs."),
    ] = None,
    auto_regions: AutoRegions = False,
    segmenter: SegmenterFile = None,
    labels: LabelMap = None,
    strength: Strength = 1.0,
    region: RegionStrengths = None,
    model: Model = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> None:
    """One photograph in the light of another."""
    from .looks import choose_segmenter, convert_photo

    bundle = _bundle(model, device, precision=precision)
    chosen = choose_segmenter(auto_regions, segmenter, labels, bundle, drawn=masks is not None)
    convert_photo(source, target, _choice(style, look), masks, chosen, _strength(strength, region), bundle)


@app.command()
def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A clip, or a folder of clips.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where it goes; a folder, if IN is one.")],
    style: Style = None,
    look: LookName = None,
    auto_regions: AutoRegions = False,
    segmenter: SegmenterFile = None,
    labels: LabelMap = None,
    strength: Strength = 1.0,
    region: RegionStrengths = None,
    smoothing: Smoothing = SECONDS,
    ahead: Ahead = AHEAD,
    codec: Annotated[
        str | None, typer.Option(metavar="NAME", help="h264, h265, vp9 or av1; the container's own if left out.")
    ] = None,
    crf: Annotated[int | None, typer.Option(min=0, max=63, help="Quality: lower is better and larger.")] = None,
    preset: Annotated[str | None, typer.Option(help="Of the encoder: veryfast, slow, ...; for AV1 0 to 13.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Leave the left half as it is.")] = False,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster for a folder, or local.")] = None,
    model: Model = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> None:
    """A clip in the light of a photograph: every frame, its time, the sound and the rotation kept.

    Of a folder all clips; those that OUT holds already stay, so that an interrupted run goes on where it stopped.
    """
    _one_heap()
    from hueglass.infer.media.video_sink import CODECS, Encoding
    from hueglass.infer.model.bundle import EMBEDDED

    from .clip_folder import convert_folder
    from .clip_job import VideoOptions, convert_video

    if codec is not None and codec not in CODECS:
        raise UsageError(f"--codec {codec}, expected one of {', '.join(CODECS)}")
    options = VideoOptions(
        _choice(style, look),
        auto_regions,
        segmenter,
        labels,
        _strength(strength, region),
        smoothing,
        ahead,
        Encoding(codec, crf, preset),
        compare,
        model or EMBEDDED,
        device,
        precision,
    )
    if os.path.isdir(source):  # of a name that is too long, too
        convert_folder(source, target, options, ray)
    elif ray is not None:
        raise UsageError(f"{source}: is no folder, expected a folder of clips with --ray")
    else:
        convert_video(source, target, options)


@app.command()
def live(
    look: Annotated[
        list[str] | None,
        typer.Option(
            "--look", metavar="NAME|FILE", help="A look to show; repeat for those that follow on the key `n`."
        ),
    ] = None,
    style: Annotated[list[Path] | None, typer.Option(metavar="PHOTO", help="Look of a photograph; repeat.")] = None,
    camera: Annotated[str, typer.Option(metavar="N|URL|FILE", help="Number of a camera, a stream or a clip.")] = "0",
    size: Annotated[tuple[int, int] | None, typer.Option(metavar="W H", help="Asked of the camera.")] = None,
    rate: Annotated[float | None, typer.Option(min=1, max=240, help="Asked of the camera; of a clip, taken.")] = None,
    auto_regions: AutoRegions = False,
    segmenter: SegmenterFile = None,
    labels: LabelMap = None,
    strength: Strength = 1.0,
    region: RegionStrengths = None,
    smoothing: Smoothing = SECONDS,
    virtual_camera: Annotated[bool, typer.Option("--virtual-camera", help="Send the pictures into a call.")] = False,
    window: Annotated[bool, typer.Option("--window/--no-window", help="Show them here.")] = True,
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="For pictures and clips.")] = Path(),
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this long; else on `q`.")] = None,
    model: Model = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> None:
    """A camera in the light of a photograph, in a window and as a virtual camera. Keys: `h` in the window."""
    _one_heap()
    from hueglass.commands.live import LiveOptions, start_live

    from .looks import choose_segmenter

    # One thread: the other cores read, render and show, and no frame may wait for a prediction.
    bundle = _bundle(model, device, 1, precision)
    chosen = choose_segmenter(auto_regions, segmenter, labels, bundle)
    options = LiveOptions(camera, size, rate, _strength(strength, region), smoothing, virtual_camera, window, seconds)
    start_live(options, look or [], style or [], chosen, folder, bundle)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine by TLS and a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8787,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Show the page here.")] = True,
    look: Annotated[
        list[str] | None, typer.Option("--look", metavar="NAME|FILE", help="A look to offer; repeat. All if left out.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Your own, with --key.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="Of the certificate.")] = None,
    max_clients: Annotated[int, typer.Option(min=1, max=1000, help="At a time.")] = 32,
    auto_regions: AutoRegions = False,
    segmenter: SegmenterFile = None,
    labels: LabelMap = None,
    region: RegionStrengths = None,
    smoothing: Smoothing = SECONDS,
    model: Model = None,
    device: Device = "cpu",
) -> None:
    """A page that turns the browser of a phone, a headset or glasses into a window on the restyled world."""
    _one_heap()
    from hueglass.commands.serve import build_server
    from hueglass.commands.serve import serve as run_server
    from hueglass.infer.scene.stylizer import Sight

    from .looks import check_strength, choose_segmenter

    bundle = _bundle(model, device)
    chosen, wanted = choose_segmenter(auto_regions, segmenter, labels, bundle), _strength(1.0, region)
    check_strength(wanted, () if chosen is None else chosen.names, chosen is not None)
    sight = Sight(chosen, wanted, smoothing)
    built = build_server(host, port, look or [], bundle, certificate, key, max_clients, sight)
    run_server(*built, open_browser)


@web_app.command("build")
def web_build(
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="New, empty, or an older site.")],
    look: Annotated[
        list[str] | None, typer.Option("--look", metavar="NAME|FILE", help="A look to offer; repeat. All if left out.")
    ] = None,
    auto_regions: AutoRegions = False,
    model: Model = None,
) -> None:
    """A static site that restyles the camera in the page itself, without a server of ours. Needs npm."""
    from hueglass.commands.web import build_web

    from .looks import choose_segmenter

    bundle = _bundle(model, "cpu")
    build_web(folder, look or [], bundle, choose_segmenter(auto_regions, None, None, bundle))


@look_app.command("make")
def look_make(
    reference: Annotated[Path, typer.Argument(metavar="REF", help="Photograph whose light to take.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="X.look")],
    mask: Annotated[Path | None, typer.Option(help="Mask of its regions: colour codes or label numbers.")] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LABEL", help="Names a label of the mask, e.g. sky=blue or road=3. Repeat."),
    ] = None,
    auto_regions: AutoRegions = False,
    segmenter: SegmenterFile = None,
    labels: LabelMap = None,
    model: Model = None,
) -> None:
    """Make a look from a reference photograph."""
    from .looks import choose_segmenter, make_look_file

    bundle = _bundle(model, "cpu")
    chosen = choose_segmenter(auto_regions, segmenter, labels, bundle, drawn=mask is not None)
    make_look_file(reference, out, mask, region or [], chosen, bundle)


@look_app.command("cube")
def look_cube(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The picture or clip that the table is for.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="X.cube")],
    style: Style = None,
    look: LookName = None,
    auto_regions: AutoRegions = False,
    strength: Strength = 1.0,
    size: Annotated[int, typer.Option(help="Entries along each edge: 17, 33 or 65.")] = 33,
    model: Model = None,
) -> None:
    """Bake a look on a picture or clip into one table of colours for ffmpeg, OBS, Resolve, and say what it loses."""
    from hueglass.commands.look.cube import make_cube

    from .looks import choose_segmenter

    if size not in (17, 33, 65):
        raise UsageError(f"a table of {size} entries an edge, expected 17, 33 or 65")
    bundle = _bundle(model, "cpu")
    segmenter = choose_segmenter(auto_regions, None, None, bundle)
    make_cube(source, out, _choice(style, look), segmenter, strength, size, bundle)


@look_app.command("mix")
def look_mix(
    first: Annotated[str, typer.Argument(metavar="A", help="A look by name or .look file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="X.look")],
    weight: Annotated[float, typer.Option(min=0, max=1, help="0 is A, 1 is B.")] = 0.5,
    model: Model = None,
) -> None:
    """Make a look between two others."""
    from .looks import mix_look_file

    mix_look_file(first, second, weight, out, _bundle(model, "cpu"))


@look_app.command("list")
def look_list() -> None:
    """The looks that come with hueglass."""
    from hueglass.infer.model.bundle import EMBEDDED, read_manifest
    from hueglass.infer.model.look import embedded_looks, find_look

    manifest = read_manifest(EMBEDDED)
    for name in embedded_looks():
        print(f"{name:16} {', '.join(find_look(name, manifest).names)}")


@app.command()
def teach(
    content: Annotated[Path, typer.Argument(metavar="CONTENT")],
    style: Annotated[Path, typer.Argument(metavar="STYLE", help="Photograph whose light to take.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT")],
    masks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CONTENT_MASK STYLE_MASK", help="Which part is which, in both photographs."),
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Another setting, see configs/.")] = None,
    features: Annotated[
        Literal["squeezenet", "vgg19"] | None, typer.Option(help="Network; the configuration's if left out.")
    ] = None,
    weights: Weights = None,
    device: Device = "cpu",
) -> None:
    """One photograph by the whole optimisation of Deep Photo Style Transfer: slower than `photo`, and more faithful."""
    _needs_torch()
    from hueglass.commands.teach import teach_photo

    teach_photo(content, style, out, masks, config, features, weights, device)


@app.command()
def pairs(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with photos/ or camvid/ (train, train_label).")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="MANIFEST")],
    count: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other pairs.")] = 0,
) -> None:
    """Draw pairs of similar scenes in different colours: the manifest that `targets` works through."""
    from hueglass.commands.targets import make_pairs

    make_pairs(data, out, count, seed)


@app.command()
def targets(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="What `pairs` wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="STORE", help="Folder for the targets.")],
    config: Annotated[Path, typer.Option(metavar="FILE", help="The teacher's configuration, see configs/.")],
    data: Annotated[Path, typer.Option(metavar="DIR", envvar="HUEGLASS_DATA", help="Where the data lies.")],
    weights: Weights = None,
    device: Annotated[str, typer.Option(help="Where the teacher runs: cpu or cuda.")] = "cpu",
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; default: one a core.")] = None,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster to work on, or local.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try pairs that failed again.")] = False,
) -> None:
    """Run the teacher on every pair of a manifest; an interrupted run goes on where it stopped."""
    _needs_torch()
    from hueglass.commands.targets import run_targets

    run_targets(manifest, out, data, config, weights, device, workers, ray, retry)


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="A YAML file, see configs/.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR|X.look", help="Default: runs/ and CONFIG's name; REF's name.look."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="HUEGLASS_DATA", help="Where the data lies.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--tune", metavar="REF", help="Make a look of this photograph, and train it.")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option("--on", metavar="DIR|CLIP", help="With --tune: what it will be used on.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="With --tune: REF's regions, by name.")] = None,
    minutes: Annotated[float, typer.Option(min=0.05, max=600, help="With --tune: for how long.")] = 3,
    model: Model = None,
) -> None:
    """Train the student or the segmenter, or go on with an interrupted training; or tune a look to one photograph."""
    _needs_torch()
    if (config is None) == (reference is None):
        raise UsageError("expected either CONFIG, for a network, or --tune REF, for a look")
    if reference is not None:
        from hueglass.commands.tune import tune_look

        tune_look(reference, out or Path(f"{reference.stem}.look"), frames, mask, minutes, _bundle(model, "cpu"))
    elif config is not None:
        if frames is not None or mask is not None or model is not None:
            raise UsageError("--on, --mask and --model belong to --tune")
        from hueglass.commands.train import run_training

        run_training(config, out or Path("runs") / config.stem, data)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a training.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="BUNDLE", help="Folder for the bundle.")],
    segmenter: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Folder of a segmenter's training.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photographs: try the student in 8-bit integers as well.")
    ] = None,
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build engines for this machine's GPU as well.")] = False,
) -> None:
    """Write the model bundle of a checkpoint: ONNX graphs and their manifest, verified before anything is kept."""
    _needs_torch()
    from hueglass.export.onnx import export_bundle
    from hueglass.infer.network.engine_cache import unavailable

    if tensorrt and (why := unavailable()) is not None:  # before the long work
        raise HueglassError(f"--tensorrt: {why}")
    manifest = export_bundle(checkpoint, out, segmenter, calibrate)
    print(f"{out}: {manifest.model}, {len(manifest.graphs)} graphs, verified")
    if tensorrt:
        from hueglass.export.tensorrt import build_engines

        for name in build_engines(out):
            print(f"{out / name}: engine ready")


@app.command()
def verify(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="A model bundle; the embedded one if left out.")
    ] = None,
) -> None:
    """Check a model bundle: files, names, shapes, operators, and what it computes beside torch and numpy."""
    _needs_torch()
    from hueglass.commands.verify import run_verify

    run_verify(bundle)


@app.command()
def bench(
    clip: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Time `video` on a clip instead, beside a plain transcode.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
    ] = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> None:
    """How long every stage of a frame takes on this machine."""
    if device != "cpu":
        from hueglass.bench.gpu import run_cuda_bench

        run_cuda_bench(device, precision, path)
        return
    if clip is not None:
        from hueglass.bench.clip import run_clip_bench

        run_clip_bench(clip, path)
        return
    from hueglass.bench.stages import run_bench

    run_bench(path)


@evaluate_app.command("pairs")
def evaluate_pairs(
    data: PairsFolder,
    outputs: Annotated[list[str] | None, OUTPUTS] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="REPORT", help="Folder for a page, JSON and contact sheets.")
    ] = None,
    model: Model = None,
    no_student: Annotated[bool, typer.Option("--no-student", help="Leave the student out.")] = False,
) -> None:
    """Faithfulness and photorealism on pairs with masks, beside baselines and the paper's own results."""
    _needs_torch()
    from hueglass.commands.evaluate.pairs import evaluate_pairs
    from hueglass.infer.model.bundle import EMBEDDED

    evaluate_pairs(outputs or [], data, out, None if no_student else model or EMBEDDED)


@evaluate_app.command("run")
def evaluate_run(
    method: Annotated[Literal["teacher", "neural-style", "cnnmrf"], typer.Argument(show_default=False)],
    data: PairsFolder,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUTPUTS", help="Folder for the pictures NN.png.")],
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The method's configuration (YAML).")] = None,
    weights: Weights = None,
    only: Annotated[str | None, typer.Option(metavar="NN,NN", help="These pairs; all if left out.")] = None,
) -> None:
    """Run METHOD (teacher, neural-style or cnnmrf) on the pairs, for `evaluate pairs`; pictures there are kept."""
    _needs_torch()
    from hueglass.commands.evaluate.run import evaluate_run

    evaluate_run(method, data, out, config, weights, only)


@evaluate_app.command("held-out")
def evaluate_held_out(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a training.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="HUEGLASS_DATA", help="Where the data lies.")
    ] = None,
) -> None:
    """PSNR on held-out photographs under known grades, beside Monge-Kantorovich on the same samples."""
    _needs_torch()
    from hueglass.commands.evaluate import pairs as evaluate_command

    evaluate_command.evaluate_held_out(checkpoint, data)


@evaluate_app.command("segmenter")
def evaluate_segmenter(
    frames: Annotated[Path, typer.Argument(metavar="FRAMES", help="A split of CamVid, its labels in FRAMES_label.")],
    model: Model = None,
) -> None:
    """How well the model's segmenter names what it sees: intersection over union, by region."""
    _needs_torch()
    from hueglass.commands.evaluate import pairs as evaluate_command

    evaluate_command.evaluate_segmenter(frames, _bundle(model, "cpu"))


@evaluate_app.command("video")
def evaluate_video(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...", help="Video files, or folders of pictures.")],
    look: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A look by name or .look file; repeat. Three if left out.")
    ] = None,
    auto_regions: AutoRegions = False,
    smoothing: Smoothing = SECONDS,
    frames: Annotated[int, typer.Option(min=2, max=2000, help="Of each clip, at most.")] = 250,
    rate: Annotated[float, typer.Option(min=1, max=240, help="Frames a second of folders of pictures.")] = 15.0,
    offline: Annotated[
        bool, typer.Option("--offline", help="As `video` converts them, with look-ahead; else as `live` shows them.")
    ] = False,
    path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
    ] = None,
    model: Model = None,
) -> None:
    """How steady restyled clips are: the warping error, beside that of a frozen table of colours, and the settling."""
    from hueglass.commands.evaluate.video import Measuring, evaluate_videos

    from .looks import choose_segmenter

    bundle = _bundle(model, "cpu")
    segmenter = choose_segmenter(auto_regions, None, None, bundle)
    evaluate_videos(clips, look or [], Measuring(bundle, segmenter, smoothing, frames, rate, offline), path)


@study_app.command("make")
def study_make(
    outputs: Annotated[list[str], OUTPUTS],
    data: PairsFolder,
    page: Annotated[Path, typer.Option("-o", "--out", metavar="PAGE.html", help="Its key is PAGE.key.json.")],
    pairs: Annotated[int | None, typer.Option(min=1, max=512, help="How many to show; 8 if left out.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other pairs.")] = 0,
) -> None:
    """Write a page that asks people how methods' pictures look, and the key to their answers."""
    from hueglass.reports.study import make_study

    make_study(outputs, data, page, pairs, seed)


@study_app.command("score")
def study_score(
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS", help="Files that the page saved.")],
    key: Annotated[Path, typer.Option(metavar="PAGE.key.json", help="What `study make` wrote beside the page.")],
    path: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the scores there as well.")] = None,
) -> None:
    """What people answered: each method's mean ratings and how sure they are."""
    from hueglass.reports.study_score import score_study

    score_study(answers, key, path)


def _choice(style: Path | None, look: str | None) -> Path | str:
    """The reference photograph or the look's name: exactly one."""
    if style is not None and look is None:
        return style
    if look is not None and style is None:
        return look
    raise UsageError("expected either --style PHOTO or --look NAME")


def _strength(everywhere: float, regions: list[str] | None):  # type: ignore[no-untyped-def]
    from hueglass.infer.regions.strength import Strength, parse_regions

    return Strength(everywhere, parse_regions(regions or []))


def _bundle(folder: Path | None, device: str, threads: int = 0, precision: str = "fp32"):  # type: ignore[no-untyped-def]
    from hueglass.infer.model.bundle import EMBEDDED, ModelBundle

    bundle = ModelBundle(folder or EMBEDDED, device, threads, precision)
    if device != "cpu":
        print(f"hueglass: the network runs on {bundle.device}", file=sys.stderr)
    return bundle


def _one_heap() -> None:
    """Keeps memory flat over hours of video.

    glibc has a heap per thread. Pictures that one thread makes and another lets go leave holes in them, and the process
    grew by 3 MB a second. Elsewhere, or where threads have heaps already, this does nothing.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _needs_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UsageError('this command needs torch: pip install "hueglass[train]"') from None


def main() -> None:
    """Run a command; errors are one line on stderr. Exit status 0 done, 1 the work failed, 2 wrong use."""
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    sys.exit(_run())


def _end(number: int, _frame: object) -> None:
    """Ends the process as an exception does, so that temporary files are removed."""
    sys.exit(128 + number)


def _run() -> int:
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        status = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except TyperException as error:  # wrong use that typer itself finds; without a text if it printed the help
        return _complain(error.format_message(), error.exit_code)
    except UsageError as error:
        return _complain(error, 2)
    except HueglassError as error:
        return _complain(error, 1)
    except OSError as error:  # what writes files reports its own: this is standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would try, and complain, once more at its end
        return _complain(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
    if status == INTERRUPTED:
        return _complain("interrupted, nothing half-written was left behind", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"hueglass: {message}", file=sys.stderr)


def _complain(error: object, status: int) -> int:
    # File names, and what files hold, may contain line feeds and escape sequences.
    message = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))
    if message:
        print(f"hueglass: {message}", file=sys.stderr)
    return status
