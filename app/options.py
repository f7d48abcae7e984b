"""Options that several commands share, each declared once: a field here, and the place where it is used.

A command takes one of the classes below, or its own built on them, as a keyword-only parameter; `expanded` gives the
command line an option for each field. Light: what the options name is imported when it is asked for.
"""

import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from hueglass.infer.errors import UsageError
from hueglass.infer.network.devices import Device, Precision
from hueglass.infer.smoothing import LEAST_MEMORY, MEMORY, MOST_MEMORY, SECONDS, SECONDS_ALONE, Steadying

if TYPE_CHECKING:
    from hueglass.infer.model.bundle import ModelBundle
    from hueglass.infer.regions.regions import Regions
    from hueglass.infer.regions.segmenter import Segmenter
    from hueglass.infer.regions.strength import Strength

DATA = typer.Option(metavar="DIR", envvar="HUEGLASS_DATA", help="Where the data lies.")
DEVICE = typer.Option(help="Where the network runs; auto: the best here.")
PRECISION = typer.Option(help="Of the network; int8 is as quick CPUs like it.")
OUTPUTS = typer.Argument(metavar="OUTPUTS", help="Folders with a method's pictures NN.png; or NAME=FOLDER.")
FigureFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")]
Looks = Annotated[
    list[str] | None, typer.Option("--look", metavar="NAME|FILE", help="A look to offer; repeat. All if left out.")
]
PairsFolder = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Folder with content, style, their masks and official.")
]
ShownRegions = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a picture of the regions that were found there as well.")
]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Of the network; downloaded if left out.")]


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each parameter whose type is a dataclass replaced by the dataclass's fields.

    What typer reads of a function is its signature. The fields' types and defaults are written there, and what typer
    found for them is put together again before the command is called.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        parameters += _parameters(groups[own.name]) if own.name in groups else [own]

    @wraps(command)
    def run(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters(kind: Any) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(kind)
    ]


@dataclass(frozen=True, kw_only=True)
class StyleOptions:
    """Whose light is taken."""

    style: Annotated[Path | None, typer.Option(metavar="PHOTO", help="Reference photograph whose light to take.")] = (
        None
    )
    look: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="Embedded look or .look file.")] = None

    def choice(self) -> Path | str:
        """The reference photograph or the look's name. UsageError unless it is exactly one."""
        if self.style is not None and self.look is None:
            return self.style
        if self.look is not None and self.style is None:
            return self.look
        raise UsageError("expected either --style PHOTO or --look NAME")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model."""

    model: Annotated[Path | None, typer.Option(metavar="DIR", help="Model bundle; the embedded one if left out.")] = (
        None
    )

    def open_bundle(self) -> "ModelBundle":
        """The bundle, on the CPU. Errors as `ModelBundle`."""
        from hueglass.infer.model.bundle import ModelBundle

        return ModelBundle(self.model_folder())

    def model_folder(self) -> Path:
        """Where the bundle lies."""
        from hueglass.infer.model.manifest import EMBEDDED

        return self.model or EMBEDDED


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(ModelOptions):
    """Which model, and how it is run."""

    device: Annotated[Device, DEVICE] = Device.CPU
    precision: Annotated[Precision, PRECISION] = Precision.FP32

    def open_bundle(self, threads: int = 0, note: "Callable[[str], object] | None" = None) -> "ModelBundle":
        """The bundle on its device, with so many threads (0: as many as there are cores).

        Where a device was asked for, says where it runs and what renders: by `note`, or on stderr. Errors as
        `ModelBundle`.
        """
        from hueglass.infer.model.bundle import ModelBundle

        bundle = ModelBundle(self.model_folder(), self.device.value, threads, self.precision.value)
        if self.device is not Device.CPU:
            from hueglass.infer.scene.stylizer import renderer_of

            said = (
                f"the network runs on {bundle.device}, frames are rendered by the {renderer_of(bundle).name} renderer"
            )
            print(f"hueglass: {said}", file=sys.stderr) if note is None else note(said)
        return bundle


@dataclass(frozen=True, kw_only=True)
class AutoRegionOptions:
    """Whether regions are found by the model's own segmenter: unless somebody says otherwise, where it has one."""

    auto_regions: Annotated[
        bool | None,
        typer.Option(
            "--auto-regions/--no-auto-regions",
            help="Whether sky, buildings, people, ... are found by the model's segmenter. [default: where it has one]",
        ),
    ] = None

    def find_segmenter(self, bundle: "ModelBundle", drawn: bool = False) -> "Segmenter | None":
        """The segmenter to find regions with, None for none. UsageError if one is asked for that the model does not
        have, or where masks are `drawn` that say already what is what."""
        if drawn:
            if self.auto_regions:
                raise UsageError("masks say what --auto-regions or --segmenter would find, expected one of them")
            return None
        if self.auto_regions and bundle.segmenter is None:
            raise UsageError(f"{bundle.folder}: this model has no segmenter, expected --segmenter FILE --labels FILE")
        return None if self.auto_regions is False else bundle.segmenter


@dataclass(frozen=True, kw_only=True)
class RegionOptions(AutoRegionOptions):
    """How regions are found: by the model's segmenter, by the user's own, or not at all."""

    segmenter: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Find regions by this ONNX segmenter instead.")
    ] = None
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON: names of the segmenter's classes.")] = None

    def find_segmenter(self, bundle: "ModelBundle", drawn: bool = False) -> "Segmenter | None":
        """As above. UsageError, too, if a segmenter lacks its labels; errors as `open_segmenter`."""
        from hueglass.infer.regions.user_segmenter import open_segmenter

        if drawn and self.segmenter is not None:
            raise UsageError("masks say what --auto-regions or --segmenter would find, expected one of them")
        if (self.segmenter is None) != (self.labels is None):
            raise UsageError("--segmenter and --labels belong together, expected both or neither")
        if self.segmenter is not None and self.labels is not None:
            return open_segmenter(self.segmenter, self.labels, bundle.manifest.thumbnail // 2)
        return super().find_segmenter(bundle, drawn)


@dataclass(frozen=True, kw_only=True)
class SceneOptions(NetworkOptions, RegionOptions):
    """Of every command that shows frames; see `FrameOptions`."""

    region: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=STRENGTH", help="Another strength for a region, e.g. person=0. Repeat."),
    ] = None

    def strengths(self, known: "Segmenter | Regions | None") -> "Strength":
        """How much of the look is taken, and where. UsageError for a region that is not among those `known`."""
        return _strengths(1.0, self.region or [], known)


@dataclass(frozen=True, kw_only=True)
class StrengthOptions:
    """How much of the look is taken."""

    strength: Annotated[
        float,
        typer.Option(min=0, max=2, help="0 leaves the picture as it is, 1 is the look in full, more exaggerates."),
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class FrameOptions(SceneOptions, StrengthOptions):
    """Of every command that makes frames: an option that is added here is one of all of them."""

    def strengths(self, known: "Segmenter | Regions | None") -> "Strength":
        """As above."""
        return _strengths(self.strength, self.region or [], known)


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How what moves is steadied."""

    scene_memory: Annotated[
        str,
        typer.Option(metavar="SECONDS|off", help="Over which a thing may change its colour; off: frame by frame."),
    ] = f"{MEMORY:g}"
    smoothing: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help=f"Seconds over which the look settles; 0: none. {SECONDS:g}, without scene memory {SECONDS_ALONE:g}, "
            "if left out.",
        ),
    ] = None

    def steady(self) -> Steadying:
        """UsageError for what is no memory."""
        return Steadying(parse_memory(self.scene_memory), self.smoothing)


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """How the teacher runs."""

    weights: Weights = None
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where the teacher runs.")] = "cpu"


def _strengths(everywhere: float, regions: list[str], known: "Segmenter | Regions | None") -> "Strength":
    from hueglass.infer.regions.strength import Strength

    wanted = Strength(everywhere, parse_regions(regions))
    if wanted.regions and known is None:
        raise UsageError("--region needs to know where regions are, expected --auto-regions, --segmenter or --masks")
    names = () if known is None else known.names
    for name in wanted.regions:
        if name not in names:
            raise UsageError(f"--region {name}: no such region, expected one of {', '.join(names) or 'none'}")
    return wanted


def parse_memory(text: str) -> float | None:
    """`SECONDS` or `off` of the command line. UsageError for anything else."""
    if text == "off":
        return None
    with suppress(ValueError):
        if LEAST_MEMORY <= (seconds := float(text)) <= MOST_MEMORY:
            return seconds
    raise UsageError(f"--scene-memory {text}: expected {LEAST_MEMORY} to {MOST_MEMORY} seconds, or off")


def parse_regions(texts: list[str]) -> dict[str, float]:
    """`NAME=STRENGTH` of the command line. UsageError for anything else, or a name that comes twice."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            raise UsageError(f"--region {text}: expected NAME=STRENGTH, for example sky=0.5") from None
        if not name or name in found:
            raise UsageError(f"--region {text}: expected each name once, as in sky=0.5")
        found[name] = value
    return found
