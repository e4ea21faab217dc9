"""A spiking head as ONNX graphs: its first convolution, and one timestep of the rest with the membranes in and out."""

from __future__ import annotations

import onnx

from shared.models.inference import inference_form
from shared.models.neuron import Neuron
from shared.models.split import EdgeNetwork
from training.onnx_blocks import FloatBlocks, float_convolution
from training.onnx_writer import FLOAT, UINT8, Dimensions, Writer


def embed_graph(edge: EdgeNetwork) -> onnx.ModelProto:
    """The first convolution: `frame` float32 [1, C, H, W], normalised -> `current` [1, C1, H1, W1]."""
    form = inference_form(edge)
    writer = Writer()
    current = float_convolution(writer, form.embedding, "frame")
    return writer.model(
        "embed", {"frame": (FLOAT, (1, *edge.spec.input_shape))}, {"current": (current, FLOAT, (1, *form.in_shape))}
    )


def step_graph(edge: EdgeNetwork) -> onnx.ModelProto:
    """One timestep: `current` and `membrane0`, `membrane1`, ... float32 -> `spikes` uint8 [1, C', H', W'] of 0 and 1,
    and `membrane0_after`, ...; membranes are numbered in the order in which the neurons fire."""
    form = inference_form(edge)
    blocks = StepBlocks(Writer())
    spikes = blocks.block(form.encoder, blocks.head(form.head, blocks.fire(form.neurons[0], "current")))
    assert len(blocks.membranes) == len(form.neurons)
    shapes = [(1, *neuron.shape) for neuron in form.neurons]
    inputs: dict[str, tuple[int, Dimensions]] = {"current": (FLOAT, (1, *form.in_shape))}
    inputs |= {f"membrane{index}": (FLOAT, shape) for index, shape in enumerate(shapes)}
    spikes = blocks.writer.add("Cast", spikes, to=UINT8)
    outputs: dict[str, tuple[str, int, Dimensions]] = {"spikes": (spikes, UINT8, (1, *form.out_shape))}
    for index, (after, shape) in enumerate(zip(blocks.membranes, shapes, strict=True)):
        outputs[f"membrane{index}_after"] = (after, FLOAT, shape)
    return blocks.writer.model("step", inputs, outputs)


class StepBlocks(FloatBlocks):
    """Blocks whose neurons integrate and fire; the membranes after the step are noted in `membranes`."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer)
        self.membranes: list[str] = []

    def fire(self, neuron: Neuron, current: str) -> str:
        """The recurrence of shared/models/neuron.py: the reset is that of the membrane as it comes in."""
        spec, add = neuron.spec, self.writer.add
        membrane, threshold = f"membrane{len(self.membranes)}", self.writer.constant(spec.threshold)
        fired = add("Cast", add("Greater", membrane, threshold), to=FLOAT)
        reset = fired if spec.threshold == 1.0 else add("Mul", fired, threshold)
        decayed = membrane if spec.leak == 1.0 else add("Mul", membrane, self.writer.constant(spec.leak))
        after = add("Sub", add("Add", decayed, current), reset)
        self.membranes.append(after)
        return add("Cast", add("Greater", after, threshold), to=FLOAT)
