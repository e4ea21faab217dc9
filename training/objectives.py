"""What a stage minimises, as a module: networks in, one loss out, so that it can be run data-parallel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shared.models.split import SplitNetwork
from training.losses import classification, distillation, imitation
from training.recipe import StageRecipe


class StageObjective(nn.Module):
    """Frames and labels to (loss, logits [T, B, K]) for one stage; `teacher` is the frozen uncompressed network."""

    def __init__(self, network: SplitNetwork, stage: StageRecipe, teacher: SplitNetwork | None) -> None:
        super().__init__()
        self.network = network
        self.stage = stage
        # Not a submodule: it has nothing to train, to average or to save.
        self._teacher = [teacher]

    def forward(self, frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.stage.kind == "bottleneck":
            logits, extra = self._through_bottleneck(frames)
        else:
            logits, extra = self._whole(frames)
        stage = self.stage
        loss = classification(
            logits.float(), labels, stage.objective, stage.label_smoothing, stage.first_timestep_weight
        )
        return loss + extra, logits.detach()

    def _whole(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.network(frames)
        teacher = self._teacher[0]
        if self.stage.distill == 0.0 or teacher is None:
            return logits, logits.new_zeros(())
        with torch.no_grad():
            answer = teacher(frames)
        return logits, self.stage.distill * distillation(logits.float(), answer.float())

    def _through_bottleneck(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The frozen parts run once; the teacher is the same tail on the features that were not compressed."""
        edge, cloud = self.network.edge, self.network.cloud
        with torch.no_grad():
            currents = self.network.currents(frames)
            batch, device = currents.shape[1], currents.device
            features, _ = edge.head(currents, edge.head.initial_state(batch, device=device))
            deep, _ = cloud.tail(features, cloud.tail.initial_state(batch, device=device))
            answer = cloud.readout(deep)
        spikes, _ = edge.encoder(features, edge.encoder.initial_state(batch, device=device))
        decoded, _ = cloud.decoder(spikes, cloud.decoder.initial_state(batch, device=device))
        deep, _ = cloud.tail(decoded, cloud.tail.initial_state(batch, device=device))
        logits = cloud.readout(deep)
        extra = self.stage.distill * distillation(logits.float(), answer.float())
        return logits, extra + self.stage.imitate * imitation(decoded, features)


def set_trainable(network: SplitNetwork, stage: StageRecipe) -> None:
    """Mark what the stage trains; in a bottleneck stage the rest is frozen, its running statistics too."""
    frozen: list[nn.Module] = []
    network.train()
    if stage.kind == "bottleneck":
        frozen = [network.edge.embedding, network.edge.head, network.cloud.tail, network.cloud.readout]
    for module in frozen:
        module.eval()
        module.requires_grad_(False)
