"""PolyLDM: a denoiser of PolyVAE's latents that knows the wanted properties, and the PolyVAE that writes molecules from them.

Shapes: B molecules, L latent dimensions, P properties, E of their embedding. Latents are standardised, (raw - mean) / std, unless called raw.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.polymers.conditions import MoleculeModelError
from training.polymers.ldm.config import Diffusion
from training.polymers.ldm.denoisers import DENOISERS, step_embedding
from training.polymers.ldm.samplers import Network, denoise_by, guided, sample_ddim
from training.polymers.ldm.schedule import noise_schedule
from training.polymers.vae.networks import PolyVAE

# What is told of a latent is cut off here, in standard deviations: no posterior sample comes near it.
LATENT_LIMIT = 8.0


@dataclass(frozen=True)
class PolyLDMShape(Diffusion):
    """What the networks are built from; saved as config.json. latent, vocabulary_size, properties: of the PolyVAE whose latents these are."""

    latent: int = 32
    vocabulary_size: int = 0
    properties: tuple[str, ...] = ()


class Diffuser(nn.Module):
    """What learns: an embedding of properties, at first that of `vae`, and a denoiser. latent_mean, latent_std: [L], of raw posterior samples."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, shape: PolyLDMShape, vae: PolyVAE) -> None:
        super().__init__()
        self.step_width, self.property_width = shape.step_width, vae.shape.property_width if shape.properties else 0
        if shape.properties:
            self.property_encoder = copy.deepcopy(vae.property_encoder)
        inputs = shape.latent + shape.step_width + self.property_width
        self.denoiser = DENOISERS[shape.denoiser](inputs, shape.hidden_width, shape.latent)
        self.register_buffer("latent_mean", torch.zeros(shape.latent))
        self.register_buffer("latent_std", torch.ones(shape.latent))

    def embed(self, properties: Tensor, mask: Tensor) -> Tensor:
        """[B, E] of properties in standard deviations [B, P] and mask [B, P], True where one is wanted; E is 0 for a model without any."""
        return self.property_encoder(properties, mask) if self.property_width else properties.new_zeros(len(properties), 0)

    def forward(self, noised: Tensor, t: Tensor, embedding: Tensor) -> Tensor:
        """What the shape's `prediction` says, [B, L], of noised latents [B, L] at steps t [B]."""
        return self.denoiser(torch.cat([noised, step_embedding(t, self.step_width), embedding], dim=-1))


class PolyLDM(nn.Module):
    """Latents by diffusion, molecules from them by `vae`. Raises MoleculeModelError for another PolyVAE than that of `shape`."""

    def __init__(self, shape: PolyLDMShape, vae: PolyVAE, diffuser: Diffuser | None = None) -> None:
        super().__init__()
        for name, what in (("latent", "latent width"), ("vocabulary_size", "vocabulary"), ("properties", "properties")):
            wanted, found = getattr(shape, name), getattr(vae.shape, name)
            if wanted != found:
                raise MoleculeModelError(f"the {what} of the PolyVAE: {found}, expected {wanted}; they do not belong together, make polyldm again")
        self.shape, self.vae = shape, vae
        self.diffuser = diffuser if diffuser is not None else Diffuser(shape, vae)
        self.schedule = noise_schedule(shape.schedule, shape.diffusion_steps)

    def latents(
        self, properties: Tensor, mask: Tensor, draw: Callable[[], Tensor], *, steps: int = 50, eta: float = 0.0, guidance: float = 1.0
    ) -> Tensor:
        """Raw latents [B, L] for wanted properties [B, P], by DDIM (samplers.py). draw: normal noise [B, L], once and, with eta, at each step.

        Raises MoleculeModelError for a guidance that the model was not trained for, and for more steps than it has.
        """
        if guidance != 1 and not (self.shape.condition_dropout and self.shape.properties):
            why = "was trained without condition dropout" if self.shape.properties else "knows no properties"
            raise MoleculeModelError(f"guidance {guidance:g}, but this PolyLDM {why}: expected 1; train it with condition_dropout above 0")
        if not 1 <= steps <= self.shape.diffusion_steps:
            raise MoleculeModelError(f"{steps} steps, expected 1 to {self.shape.diffusion_steps}, the steps of diffusion of this PolyLDM")
        asked, free = (self._network(properties, given) for given in (mask, torch.zeros_like(mask)))
        denoise = denoise_by(guided(asked, free, guidance), self.schedule, self.shape.prediction, limit=LATENT_LIMIT)
        return sample_ddim(denoise, draw(), self.schedule, draw, steps=steps, eta=eta) * self.diffuser.latent_std + self.diffuser.latent_mean

    def _network(self, properties: Tensor, mask: Tensor) -> Network:
        embedding = self.diffuser.embed(properties, mask)
        return lambda noised, t: self.diffuser(noised, t, embedding)
