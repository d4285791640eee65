"""PolyLDM: a denoiser of PolyVAE's latents with an embedding of the wanted properties, and the PolyVAE that writes molecules from them.

Shapes: B molecules, L latent dimensions, P properties. Latents are PolyVAE's own where they are called raw, else standardised: (raw - mean) / std.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.polymers.conditions import ConditionedShape, MoleculeModelError
from training.polymers.ldm.denoisers import DENOISERS, DenoiserName
from training.polymers.ldm.samplers import Network, denoise_by, guided, sample_ddim
from training.polymers.ldm.schedule import NoiseSchedule, Prediction, ScheduleName, noise_schedule
from training.polymers.vae.networks import PolyVAE

# What is told of a standardised latent is cut off here: in standard deviations, and twice what any posterior sample of our data has.
LATENT_LIMIT = 8.0


@dataclass(frozen=True)
class PolyLDMShape(ConditionedShape):
    """What the networks are built from; saved as config.json. The fields of ConditionedShape, and latent, are those of the PolyVAE it came from.

    condition_dropout: of its training; without any there is no guidance.
    """

    latent: int = 32
    denoiser: DenoiserName = "mlp"
    hidden_width: int = 256
    step_width: int = 64
    diffusion_steps: int = 1000
    schedule: ScheduleName = "linear"
    prediction: Prediction = "epsilon"
    condition_dropout: float = 0.1


class Diffuser(nn.Module):
    """What learns: an embedding of properties, taken from a PolyVAE, and a denoiser."""

    def __init__(self, shape: PolyLDMShape, vae: PolyVAE) -> None:
        super().__init__()
        self.property_width = vae.shape.property_width if shape.properties else 0
        if shape.properties:
            self.property_encoder = copy.deepcopy(vae.property_encoder)
        self.denoiser = DENOISERS[shape.denoiser](shape.latent, shape.step_width, self.property_width, shape.hidden_width)

    def embed(self, properties: Tensor, mask: Tensor) -> Tensor:
        """[B, E] of standardised properties [B, P] and mask [B, P], True where one is wanted; E is 0 for a model without any."""
        if not self.property_width:
            return properties.new_zeros(len(properties), 0, dtype=torch.float32)
        return self.property_encoder(properties, mask)

    def forward(self, noised: Tensor, t: Tensor, embedding: Tensor) -> Tensor:
        """What the shape's `prediction` says, [B, L], of noised latents [B, L] at steps t [B]."""
        return self.denoiser(noised, t, embedding)


class PolyLDM(nn.Module):
    """A trained one: latents by diffusion, molecules from them by PolyVAE. latent_mean, latent_std: [L], of raw posterior samples.

    Raises MoleculeModelError where the PolyVAE is another one than that of the shape.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, shape: PolyLDMShape, vae: PolyVAE, diffuser: Diffuser | None = None) -> None:
        super().__init__()
        check_fits(shape, vae)
        self.shape, self.vae = shape, vae
        self.diffuser = diffuser if diffuser is not None else Diffuser(shape, vae)
        self.schedule = noise_schedule(shape.schedule, shape.diffusion_steps)
        self.register_buffer("latent_mean", torch.zeros(shape.latent))
        self.register_buffer("latent_std", torch.ones(shape.latent))

    def latents(
        self, properties: Tensor, mask: Tensor, draw: Callable[[], Tensor], *, steps: int = 50, eta: float = 0.0, guidance: float = 1.0
    ) -> Tensor:
        """Raw latents [B, L] for wanted properties [B, P], by DDIM (samplers.py). draw: fresh noise [B, L], called once and, with eta, at each step.

        Raises MoleculeModelError for a guidance that the model was not trained for, and for more steps than it has.
        """
        if guidance != 1 and not (self.shape.condition_dropout and self.shape.properties):
            why = "was trained without condition dropout" if self.shape.properties else "knows no properties"
            raise MoleculeModelError(
                f"guidance is {guidance:g}, but this PolyLDM {why}: only guidance 1 is possible; train with condition_dropout > 0"
            )
        if not 1 <= steps <= self.shape.diffusion_steps:
            raise MoleculeModelError(f"steps is {steps}, expected 1 to {self.shape.diffusion_steps}, the steps of diffusion of this PolyLDM")
        asked, free = (self._network(properties, given) for given in (mask, torch.zeros_like(mask)))
        denoise = denoise_by(guided(asked, free, guidance), self.schedule, self.shape.prediction, limit=LATENT_LIMIT)
        return sample_ddim(denoise, draw(), self.schedule, draw, steps=steps, eta=eta) * self.latent_std + self.latent_mean

    def _network(self, properties: Tensor, mask: Tensor) -> Network:
        embedding = self.diffuser.embed(properties, mask)
        return lambda noised, t: self.diffuser(noised, t, embedding)


def check_fits(shape: PolyLDMShape, vae: PolyVAE) -> None:
    """Raises MoleculeModelError naming what of the PolyVAE is otherwise than the denoiser was trained for."""
    for name, what in (
        ("latent", "latent width"),
        ("vocabulary_size", "vocabulary"),
        ("properties", "properties"),
        ("maximum_tokens", "longest molecule"),
    ):
        ours, theirs = getattr(shape, name), getattr(vae.shape, name)
        if ours != theirs:
            raise MoleculeModelError(
                f"{what} of the PolyVAE is {theirs}, this PolyLDM expects {ours}; they do not belong together, train polyldm again"
            )
