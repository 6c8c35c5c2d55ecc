"""The search space of a sweep: a YAML file whose keys are dotted settings, checked with the types of params.yaml."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError, model_validator

from retinanet.config.fields import Positive, Real, Section, walk_keys
from retinanet.config.messages import describe_error
from retinanet.config.params import changed_params
from retinanet.config.settings import Params
from retinanet.errors import ParamsError, suggestion

if TYPE_CHECKING:
    from optuna import Trial

DEFAULT_SPACE = Path(__file__).with_name("default_space.yaml")
SECTIONS = ("model", "train")
# With prepare.tile_size: auto, they also decide how prepare cuts images.
DECIDE_TILES = ("model.short_side", "model.long_side")


class Interval(Section):
    """Numbers from low to high, both included."""

    low: Real
    high: Real
    log: bool = False
    """Draw the logarithm uniformly."""
    step: Positive | None = None
    """Only low, low + step, low + 2 step ..."""

    @model_validator(mode="after")
    def _has_an_order(self) -> "Interval":
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be smaller")
        if self.log and (self.step or self.low <= 0):
            raise ValueError("log needs low above 0, and no step")
        return self

    def __str__(self) -> str:
        step = f", step {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}{step}"


@dataclass(frozen=True)
class Choices:
    """Values by the label that the study's database stores: scalars themselves, other values as JSON."""

    values: Mapping[Any, Any]

    def __str__(self) -> str:
        return ", ".join(str(label) for label in self.values)


@dataclass(frozen=True)
class SearchSpace:
    """Where each setting is searched, by dotted key."""

    domains: Mapping[str, Interval | Choices]

    def suggest(self, trial: "Trial") -> dict[str, object]:
        """The values of a trial, by dotted key."""
        for key, domain in self.domains.items():
            if isinstance(domain, Choices):
                trial.suggest_categorical(key, list(domain.values))
            elif _is_real(key):
                trial.suggest_float(key, domain.low, domain.high, log=domain.log, step=domain.step)
            else:
                trial.suggest_int(key, int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
        return self.values(trial.params)

    def values(self, drawn: Mapping[str, Any]) -> dict[str, object]:
        """The settings of a trial's params in the study."""
        chosen: dict[str, object] = {}
        for key, value in drawn.items():
            domain = self.domains[key]
            chosen[key] = domain.values[value] if isinstance(domain, Choices) else value
        return chosen

    def texts(self) -> dict[str, str]:
        return {key: str(domain) for key, domain in self.domains.items()}


def read_space(path: Path, params: Params) -> SearchSpace:
    """Read and check the file. Raises ParamsError, which names the key, if a value is not valid in these params."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ParamsError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise ParamsError(f"{path}: write a dotted setting in each line, e.g. train.box_loss: [l1, giou]")
    return SearchSpace({key: _domain(path, key, value, params) for key, value in content.items()})


def _domain(path: Path, key: object, written: object, params: Params) -> Interval | Choices:
    known = [name for name, _ in walk_keys(Params) if name.split(".")[0] in SECTIONS]
    if key not in known:
        hint = suggestion(str(key), known)
        raise ParamsError(f"{path}: {key} is not a setting of {' or '.join(SECTIONS)}{'; ' if hint else ''}{hint}")
    key = str(key)
    if key in DECIDE_TILES and params.prepare.tile_size == "auto":
        raise ParamsError(
            f"{path}: {key} also decides how prepare cuts images; set prepare.tile_size in params.yaml to a number"
        )
    domain = _interval(path, key, written) if isinstance(written, dict) else _choices(path, key, written)
    for value in _examples(key, domain):
        try:
            changed_params(params, {key: value})
        except ParamsError as error:
            raise ParamsError(f"{path}: {str(error).removeprefix('params: ')}") from error
    return domain


def _interval(path: Path, key: str, written: object) -> Interval:
    try:
        return Interval.model_validate(written)
    except ValidationError as error:
        problems = "; ".join(describe_error(e) for e in error.errors())
        raise ParamsError(f"{path}: {key}: {problems}; write {{low: ..., high: ...}} or a list of values") from error


def _choices(path: Path, key: str, written: object) -> Choices:
    if not isinstance(written, list) or len(written) < 2:
        raise ParamsError(f"{path}: {key}: write {{low: ..., high: ...}} or a list of at least two values")
    values = {_label(value): value for value in written}
    if len(values) < len(written):
        raise ParamsError(f"{path}: {key} names a value twice")
    return Choices(values)


def _examples(key: str, domain: Interval | Choices) -> list[object]:
    """Values to check: all choices; of an interval its ends and, with a step, the value after the first."""
    if isinstance(domain, Choices):
        return list(domain.values.values())
    numbers = [domain.low, domain.high] + ([domain.low + domain.step] if domain.step else [])
    # A fraction for an integer setting stays one, so that the check refuses it.
    return [number if _is_real(key) or number % 1 else int(number) for number in numbers]


def _is_real(key: str) -> bool:
    return dict(walk_keys(Params))[key].annotation is float


def _label(value: object) -> object:
    return value if isinstance(value, str | int | float) else json.dumps(value)
