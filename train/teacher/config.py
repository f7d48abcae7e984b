"""What the teacher minimises, from where, and what becomes of it: `configs/teacher.yaml` and its kin."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, model_validator

from hueglass.infer.grid.bilateral import MAX_CELLS
from hueglass.train.features import Name

GridCells = Annotated[int, Field(ge=1, le=MAX_CELLS)]
Layers = dict[Name, dict[str, NonNegativeFloat]]
"""For each network, the weights of its layers."""


class Stage(BaseModel):
    """One run of L-BFGS from where the last one ended."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    evaluations: int = Field(ge=1, le=100_000)
    laplacian: NonNegativeFloat


class TeacherConfig(BaseModel):
    """What is minimised, from where, and what becomes of it. The defaults are our setting, `configs/teacher.yaml`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    features: Name = "squeezenet"
    size: int = Field(256, ge=32, le=4096)
    """The longer side, in pixels, at which the energy is minimised."""
    start: Literal["content", "transport", "noise"] = "transport"
    stages: list[Stage] = Field([Stage(evaluations=30, laplacian=3000)], min_length=1, max_length=8)
    content_layers: Layers = {"squeezenet": {"fire6": 0.1}, "vgg19": {"relu4_2": 0.1}}
    style_layers: Layers = {
        "squeezenet": {"conv1": 1, "fire3": 1, "fire6": 1},
        "vgg19": {"relu1_1": 1, "relu2_1": 1, "relu4_1": 1},
    }
    relative: bool = True
    """Losses relative to what is wanted and means over pixels: weights that hold for any network and size."""
    colour: NonNegativeFloat = 3000.0
    colour_pixels: int = Field(8192, ge=64, le=1 << 20)
    colour_directions: int = Field(16, ge=3, le=256)
    total_variation: NonNegativeFloat = 0.0
    out_of_range: NonNegativeFloat = 30.0
    laplacian_eps: PositiveFloat = 1e-5
    finish: Literal["grid", "local_affine", "none"] = "grid"
    grid: tuple[GridCells, GridCells, GridCells] = (8, 16, 16)
    grid_smoothness: PositiveFloat = 0.01
    repair: bool = False
    seed: int = Field(0, ge=0, lt=1 << 63)

    def content_weights(self) -> dict[str, float]:
        """The weights of the content layers of the network in use."""
        return self.content_layers.get(self.features, {})

    def style_weights(self) -> dict[str, float]:
        """The weights of the style layers of the network in use."""
        return self.style_layers.get(self.features, {})

    @model_validator(mode="after")
    def _has_layers(self) -> Self:
        if not self.style_weights():
            raise ValueError(f"style_layers has no layers of {self.features}")
        return self
