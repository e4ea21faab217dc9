"""The loss of a stage, as a module, so that it can run data-parallel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shared.models.split import SplitNetwork, backbone_blocks_before
from training.losses import classification, distillation, imitation
from training.recipe import StageRecipe


class StageObjective(nn.Module):
    """Computes (loss, logits [T, B, K]) from inputs, labels and the answers of an external teacher, if there is one.

    Args:
        network: the one that is trained.
        stage: its recipe.
        teacher: the frozen uncompressed network; None where the stage needs none.
    """

    def __init__(self, network: SplitNetwork, stage: StageRecipe, teacher: SplitNetwork | None) -> None:
        super().__init__()
        self.network = network
        self.stage = stage
        # Not a submodule: it has nothing to train, to average or to save.
        self._teacher = [teacher]

    def forward(self, frames: Tensor, labels: Tensor, answers: Tensor | None = None) -> tuple[Tensor, Tensor]:
        known = None if answers is None else answers.unsqueeze(0)
        if self.stage.kind == "bottleneck":
            logits, extra = self._through_bottleneck(frames, known)
        else:
            logits, extra = self._whole(frames, known)
        stage = self.stage
        if stage.label_weight:
            extra = extra + stage.label_weight * classification(
                logits.float(), labels, stage.objective, stage.label_smoothing, stage.first_timestep_weight
            )
        return extra, logits.detach()

    def _whole(self, frames: Tensor, answer: Tensor | None) -> tuple[Tensor, Tensor]:
        spikes = self.network.spikes(frames)
        logits = self.network.answers(spikes)
        teacher = self._teacher[0]
        if answer is None and teacher is not None and self.stage.distill:
            with torch.no_grad():
                answer = teacher(frames)
        return logits, self._distillation(logits, answer) + self._cost(spikes)

    def _cost(self, spikes: Tensor) -> Tensor:
        """The loss for bytes on the wire: fewer spikes, down to a few, need fewer bits (docs/decisions/0005)."""
        return self.stage.spike_cost * spikes.float().mean()

    def _through_bottleneck(self, frames: Tensor, answer: Tensor | None) -> tuple[Tensor, Tensor]:
        """The frozen parts run once. The target is the output of the same tail for the uncompressed features.

        What `network.light` puts before the encoder is trained with it; the features are then those of the teacher's
        own head.
        """
        edge, cloud = self.network.edge, self.network.cloud
        light, teacher = self.network.spec.light is not None, self._teacher[0]
        with torch.no_grad():
            features = _features(teacher if light and teacher is not None else self.network, frames)
            batch, device = features.shape[1], features.device
            if answer is None and self.stage.distill:
                deep, _ = cloud.tail(features, cloud.tail.initial_state(batch, device=device))
                answer = cloud.readout(deep)
        own = _features(self.network, frames) if light else features
        spikes, _ = edge.encoder(own, edge.encoder.initial_state(batch, device=device))
        decoded, _ = cloud.decoder(spikes, cloud.decoder.initial_state(batch, device=device))
        deep, _ = cloud.tail(decoded, cloud.tail.initial_state(batch, device=device))
        logits = cloud.readout(deep)
        extra = self._distillation(logits, answer) + self._cost(spikes)
        return logits, extra + self.stage.imitate * imitation(decoded, features)

    def _distillation(self, logits: Tensor, answer: Tensor | None) -> Tensor:
        """The loss against a teacher's logits [T', B, K]; 0 without a teacher."""
        if answer is None:
            return logits.new_zeros(())
        return self.stage.distill * distillation(logits.float(), answer.float())


def _features(network: SplitNetwork, frames: Tensor) -> Tensor:
    """The output [T, B, C, H, W] of a network's own head."""
    currents = network.currents(frames)
    features: Tensor
    features, _ = network.edge.head(
        currents, network.edge.head.initial_state(currents.shape[1], device=currents.device)
    )
    return features


def set_trainable(network: SplitNetwork, stage: StageRecipe) -> None:
    """Mark what the stage trains; in a bottleneck stage the rest is frozen, its running statistics too."""
    frozen: list[nn.Module] = []
    network.train()
    if stage.kind == "bottleneck":
        frozen = [network.cloud.tail, network.cloud.readout]
        if network.spec.backbone_at_edge:
            backbone = backbone_blocks_before(network.spec)
            frozen += [network.edge.embedding, *network.edge.head.blocks[:backbone]]
    for module in frozen:
        module.eval()
        module.requires_grad_(False)
