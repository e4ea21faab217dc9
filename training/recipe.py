"""A recipe: all settings of a training run, read from TOML into frozen dataclasses.

`recipes/` has one for each bundle that ships. A recipe is a list of stages, run in order. Each starts from the weights
of the stage before it.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from shared.binning import Binning
from shared.errors import ConfigError
from shared.exit_policy import Measure
from shared.network_spec import NetworkSpec
from shared.picture_fit import PictureFit
from shared.plain_data import dataclass_from
from training import imagenet
from training.augment_recipe import AugmentRecipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

StageKind = Literal["backbone", "bottleneck", "finetune"]
Neurons = Literal["float", "quantised", "spiking"]
"""In the order in which they train a network."""
Objective = Literal["each", "running_mean"]
Optimiser = Literal["sgd", "muon"]
Schedule = Literal["cosine", "linear"]


@dataclass(frozen=True)
class DataRecipe:
    """The data set. `name` is a data set of `shared.datasets`, or "folder": one subfolder for each class.

    `held_out` samples are taken from the training part first. They choose the temperature and the threshold, and train
    no weights. `limit` keeps the first samples of each part of a known data set only. `fit` says how pictures become as
    large as the network takes, in the bundle too.
    """

    name: str
    held_out: int
    binning: Binning = "count"
    allow_partial: bool = False
    limit: int | None = None
    fit: PictureFit = "cut"

    def __post_init__(self) -> None:
        if self.name == "folder" and self.limit is not None:
            raise ConfigError("data.limit is not for a folder, which is read class by class: remove pictures from it")


@dataclass(frozen=True)
class StageRecipe:
    """One stage of training.

    kind: `backbone` trains the network without its bottleneck; `bottleneck` trains the encoder and decoder alone, the
        rest frozen, towards what the uncompressed network does; `finetune` trains the whole network.
    neurons: `float` replaces neurons by ReLUs, which learns fastest and accepts the weights of ordinary networks
        (backbone stages only); `quantised` replaces spikes over time by their quantised mean (one pass instead of T, an
        ANN's price); `spiking` runs T timesteps. The weights go from one to the next.
    objective: the loss is taken at every timestep (TET, Deng et al., ICLR 2022), on `each` timestep's own logits or on
        their `running_mean`, which is what the exit policy sees.
    label_weight: of the loss against the labels; 0: the stage learns from its teacher alone.
    first_timestep_weight: how much more the first timestep's loss counts than the others' (1: the same).
    distill: weight of the divergence from the teacher's answer; 0 for none. Without `teacher` that is the uncompressed
        network, which a backbone stage has not got.
    teacher: an ONNX or TorchScript (.pt, .ts) file with a classifier of the same classes in the same order, whose
        answers `distill` goes by. Each training picture then has a few fixed views (shifted, mirrored and enlarged as
        `augment` says, erased for the network alone), of which an epoch shows one: the teacher answers once for each
        of them.
    teacher_views: how many. 0: the teacher answers for every batch as it is shown, erased and mixed, too. Nothing is
        repeated then, and every epoch costs its computation (Beyer et al., "Knowledge distillation: a good teacher is
        patient and consistent", CVPR 2022).
    teacher_side: of the pictures it takes, where its file does not say; ours are resized to it (bicubic).
    teacher_mean, teacher_std: it takes (pixel - mean) / std by colour, the pixel in 0 to 1; 0 and 1/255 for pixels in 0
        to 255. One value each for a teacher of grey pictures. A graph that takes uint8 gets the pixels as they are.
    teacher_licence: a file with the text of its licence, which travels with the weights; an ONNX file may contain it,
        too.
    imitate: weight of the squared difference between decoded and original firing rates at the split (bottleneck only).
    spike_cost: weight of the share of the encoder's neurons that fire, which the bytes on the wire follow (bottleneck
        and finetune).
    optimiser: `sgd`, or `muon` for the convolutions; then the other parameters learn by SGD at `other_learning_rate`.
    weight_decay, muon_weight_decay: of SGD and of Muon, each times the learning rate.
    schedule: how the learning rate falls after the warm-up, half a `cosine` or `linear`, to `final_rate` of its peak.
    part: of the samples that an epoch takes, drawn again for each epoch.
    epochs: 0 takes the weights of `init` as they are.
    levels: of the quantised activation. Of several each sample of a batch takes the next in turn: 1 is what the spiking
        network does at its first timestep, so [1, 4] trains its first answer and its last.
    other_levels: of all neurons but the encoder's; as many as `levels`, whose turns they share. `rate` runs head and
        tail with more levels than a frame has: [1, 4] with [8, 8] trains its first answer and its last. None: `levels`.
    resolutions: ((epoch, side), ...): from this epoch on pictures are reduced to this side; not in spiking stages.
    average: decay of the exponential moving average of the weights, whose result is kept; 0 for none.
    init: a weights.safetensors of another run, or a bundle's folder, from which the stage starts, instead of the
        weights of the stage before it (or random ones). Tensors that fit by name and shape are loaded (a readout for
        other classes is not).
    """

    kind: StageKind
    epochs: int
    learning_rate: float
    neurons: Neurons = "spiking"
    batch_size: int = 128
    optimiser: Optimiser = "sgd"
    weight_decay: float = 5e-4
    muon_weight_decay: float = 0.1
    other_learning_rate: float = 0.05
    momentum: float = 0.9
    warmup_epochs: float = 0.5
    schedule: Schedule = "cosine"
    final_rate: float = 0.01
    clip_gradient: float = 0.0
    objective: Objective = "running_mean"
    first_timestep_weight: float = 1.0
    label_weight: float = 1.0
    label_smoothing: float = 0.0
    distill: float = 0.0
    teacher: str | None = None
    teacher_views: int = 4
    teacher_side: int | None = None
    teacher_mean: tuple[float, ...] = imagenet.MEAN
    teacher_std: tuple[float, ...] = imagenet.STD
    teacher_licence: str | None = None
    imitate: float = 0.0
    spike_cost: float = 0.0
    average: float = 0.0
    part: float = 1.0
    levels: tuple[int, ...] = (4,)
    other_levels: tuple[int, ...] | None = None
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    resolutions: tuple[tuple[int, int], ...] = ()
    init: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(f"{name} is {getattr(self, name)!r}: one of {', '.join(get_args(allowed))}")
        if self.epochs == 0 and self.init is None:
            raise ConfigError("epochs is 0: that takes the weights of init as they are, and init is not given")
        if self.epochs < 0 or self.batch_size < 2 or not self.levels or min(self.levels) < 1:
            raise ConfigError("epochs must not be negative, levels must be at least 1, batch_size at least 2")
        self._check_other_levels()
        if not 0.0 < self.part <= 1.0:
            raise ConfigError(f"part is {self.part}: it must lie in (0, 1]")
        if not self.learning_rate > 0.0:
            raise ConfigError(f"learning_rate is {self.learning_rate}: it must be positive")
        if not 0.0 <= self.average < 1.0:
            raise ConfigError(f"average is {self.average}: it must lie in [0, 1)")
        if self.distill and self.kind == "backbone" and self.teacher is None:
            raise ConfigError("distill: a backbone stage trains the same network that others imitate: name a teacher")
        if self.spike_cost and self.kind == "backbone":
            raise ConfigError("spike_cost: a backbone stage has no encoder whose spikes could cost anything")
        self._check_teacher()
        self._check_labels()
        if self.imitate and self.kind != "bottleneck":
            raise ConfigError("imitate belongs to bottleneck stages")
        if self.resolutions and self.neurons == "spiking":
            raise ConfigError("resolutions are not for spiking stages: membranes have the shape of full pictures")
        if self.neurons == "float" and self.kind != "backbone":
            raise ConfigError(
                f"neurons 'float' belong to backbone stages: a {self.kind} stage trains what sends spikes"
            )

    def _check_other_levels(self) -> None:
        if self.other_levels is None:
            return
        if self.kind == "backbone" or self.neurons != "quantised":
            raise ConfigError("other_levels belongs to quantised stages with a bottleneck: only they have an encoder")
        if len(self.other_levels) != len(self.levels) or min(self.other_levels) < 1:
            raise ConfigError("other_levels has one value of at least 1 for each of levels")

    def _check_labels(self) -> None:
        if self.label_weight < 0.0:
            raise ConfigError(f"label_weight is {self.label_weight}: it must not be negative")
        if not (self.label_weight or self.distill or self.imitate):
            raise ConfigError("label_weight is 0, and so are distill and imitate: nothing is left to learn from")
        if self.augment.mix and self.label_weight:
            raise ConfigError("augment.mix: a mixed picture has no label of its own; set label_weight = 0 and distill")

    def _check_teacher(self) -> None:
        defaults = {field.name: field.default for field in fields(self) if field.name.startswith("teacher_")}
        if self.teacher is None:
            for name, value in defaults.items():
                if getattr(self, name) != value:
                    raise ConfigError(f"{name} says something of a teacher: name its file in teacher")
            return
        if not self.distill > 0.0:
            raise ConfigError("teacher: set distill, the weight of its answers")
        if self.teacher_views < 0 or (self.teacher_side is not None and self.teacher_side < 1):
            raise ConfigError("teacher_views must not be negative, teacher_side must be at least 1")
        if self.augment.mix and self.teacher_views:
            raise ConfigError(
                "augment.mix makes new pictures, which a teacher has no stored answer to: teacher_views = 0"
            )
        if self.augment.alternate and self.teacher_views % 2:
            raise ConfigError("augment.alternate shows every other view mirrored: teacher_views must be even")
        if len(self.teacher_mean) != len(self.teacher_std) or len(self.teacher_mean) not in (1, 3):
            raise ConfigError("teacher_mean and teacher_std have a value for each colour: three, or one for grey")
        if not min(self.teacher_std) > 0.0:
            raise ConfigError(f"teacher_std is {list(self.teacher_std)}: it must be positive")


CHOICES = {"kind": StageKind, "neurons": Neurons, "objective": Objective, "optimiser": Optimiser, "schedule": Schedule}
"""The fields of a stage that take one of a few words."""


@dataclass(frozen=True)
class CalibrationRecipe:
    """How the exit threshold is chosen. `budget` is the accuracy that early exit may cost (0.005: half a point below
    full T).

    The guarantee holds with probability at least 1 - `failure`, over the draw of the held-out samples.
    """

    budget: float = 0.005
    failure: float = 0.1
    measure: Measure = "max_probability"

    def __post_init__(self) -> None:
        if not 0.0 < self.budget < 1.0 or not 0.0 < self.failure < 1.0:
            raise ConfigError("calibration.budget and calibration.failure must lie in (0, 1)")
        if self.measure not in get_args(Measure):
            raise ConfigError(f"calibration.measure is {self.measure!r}: one of {', '.join(get_args(Measure))}")


@dataclass(frozen=True)
class Recipe:
    """A whole training run; `name` is the bundle's."""

    name: str
    data: DataRecipe
    network: NetworkSpec
    stages: tuple[StageRecipe, ...]
    calibration: CalibrationRecipe = field(default_factory=CalibrationRecipe)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("a recipe needs at least one [[stages]]")
        order = ["backbone", "bottleneck", "finetune"]
        kinds = [order.index(stage.kind) for stage in self.stages]
        if kinds != sorted(kinds):
            raise ConfigError("stages stand in the order backbone, bottleneck, finetune")
        self._check_floats()
        found = {stage.kind for stage in self.stages}
        if self.network.bottleneck is None and "bottleneck" in found:
            raise ConfigError("a bottleneck stage needs [network.bottleneck]")
        if self.network.bottleneck is not None and found == {"backbone"}:
            raise ConfigError("no stage trains [network.bottleneck]: add one of kind bottleneck or finetune")
        if "backbone" not in found and any(
            stage.kind == "finetune" and stage.distill and stage.teacher is None for stage in self.stages
        ):
            raise ConfigError("distill: without a backbone stage there is no uncompressed network to imitate")
        if self.network.light is not None and not (found >= {"backbone", "bottleneck"}):
            raise ConfigError(
                "network.light needs a backbone stage, whose features its head learns to give, and a bottleneck stage"
            )
        neuron = self.network.neuron
        if any(stage.neurons == "quantised" for stage in self.stages) and (not neuron.counts_by_rounding):
            raise ConfigError(
                "quantised stages train what integrates without a leak and begins at half its threshold: "
                f"network.neuron needs leak = 1.0 and initial_membrane = {neuron.threshold / 2:g}"
            )

    def _check_floats(self) -> None:
        """Check that float stages come first, and that another stage follows them."""
        backbones = [stage.neurons for stage in self.stages if stage.kind == "backbone"]
        order = get_args(Neurons)
        if "float" in backbones and backbones != sorted(backbones, key=order.index):
            raise ConfigError(f"backbone stages stand in the order {', '.join(order)}")
        if backbones and backbones[-1] == "float":
            raise ConfigError(
                "neurons 'float': a quantised or spiking backbone stage must follow, which learns to run as spikes"
            )


def uncompressed(recipe: Recipe) -> Recipe:
    """The recipe of the network after the backbone stages, without a bottleneck. It shares the stages' runs.

    Raises:
        ConfigError: the recipe does not begin with a backbone stage.
    """
    stages = tuple(itertools.takewhile(lambda stage: stage.kind == "backbone", recipe.stages))
    if not stages:
        raise ConfigError(
            f"recipe {recipe.name} does not begin with a backbone stage: it leaves no uncompressed network"
        )
    network = recipe.network.uncompressed
    return replace(recipe, name=f"{recipe.name}-uncompressed", network=network, stages=stages)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML file and apply `changes`: each is `KEY=VALUE`, with a dotted key and a TOML value.

    Raises:
        ConfigError: there is no such file, or a field is wrong; the file and field are named.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {path} is no TOML: {error}") from None
    try:
        for change in changes:
            _apply(values, change)
        return dataclass_from(Recipe, values)
    except ConfigError as error:
        raise ConfigError(f"recipe {path}: {error}") from None


def _apply(values: dict[str, Any], change: str) -> None:
    """Set one `KEY=VALUE` of a recipe. A stage is `stages.N`, from 0; a value that is not TOML is a string."""
    key, equals, text = change.partition("=")
    *path, last = key.strip().split(".")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place: Any = values
    try:
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[int(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, AttributeError, TypeError):
        equals = ""
    if not equals:
        raise ConfigError(f"--set {change}: KEY=VALUE is expected, such as network.split=layer2 or stages.0.epochs=3")
