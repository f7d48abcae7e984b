"""Configurations: YAML files, held against the pydantic model that stands beside the code they configure."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from hueglass.infer.errors import HueglassError, UsageError, first_problem

Config = TypeVar("Config", bound=BaseModel)


def read_config(path: Path, model: type[Config]) -> Config:
    """The configuration in a YAML file. UsageError if it is missing, HueglassError naming the key that is wrong."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file, expected a configuration (YAML)")
    try:
        return model.model_validate(yaml.safe_load(path.read_bytes()) or {})
    except yaml.YAMLError as error:
        raise HueglassError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise HueglassError(f"{path}: {first_problem(error)}") from None
