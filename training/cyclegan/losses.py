"""What the generators and the discriminators of a CycleGAN minimise, part by part of a batch; the turns themselves are training/gans/players.py.

Source: Zhu, Park, Isola, Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", equations 1 to 3; identity
loss: section 5.2; training details: section 4.
"""

import functools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.cyclegan.options import CycleGANOptions
from training.cyclegan.pool import ImagePool
from training.gans.image_stream import ImageOrder, TrainingImages, batch_of
from training.gans.losses import least_squares_d, least_squares_g
from training.gans.players import Inputs, Moment, PartLoss, Phase, parts_of_batch
from training.loop.devices import Devices
from training.loop.seeding import generator, numbers

# (from, to): G_A goes from A to B, and D_A judges what is to look like B.
WAYS = (("A", "B"), ("B", "A"))


class CycleGANLosses:
    """The three turns of an iteration: both generators, D_A, D_B. All random numbers come from (seed, purpose, roll-backs, place).

    networks: G_A, G_B, D_A, D_B. data: the pictures of A and B. pools: of fakes for D_A and D_B.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        data: Mapping[str, TrainingImages],
        pools: Mapping[str, ImagePool],
        options: CycleGANOptions,
        devices: Devices,
    ) -> None:
        self.networks, self.data, self.pools, self.options, self.devices = networks, data, pools, options, devices
        # Two orders that know nothing of each other: neither set is ever walked through in step with the other.
        self.orders = {name: ImageOrder(len(data[name]), options.seed, mirror=options.flip, purpose=f"order of {name}") for name in data}
        # Of this iteration: the reals, and by discriminator the fakes it will be shown, those of this process.
        self._reals: dict[str, Tensor] = {}
        self._fakes: dict[str, list[Tensor]] = {}

    def phases(self) -> list[Phase]:
        judges = (
            Phase(
                name,
                name,
                functools.partial(self.discriminator_losses, name),
                reported_as=name.lower(),
                inputs=functools.partial(self.discriminator_inputs, name),
                key=lambda now: "always",
            )
            for name in ("D_A", "D_B")
        )
        return [Phase("G", "G", self.generator_losses, reported_as="g", inputs=self.generator_inputs, key=lambda now: "always"), *judges]

    def generator_inputs(self, now: Moment) -> Inputs:
        self._reals = {name: self.batch(name, now) for name in "AB"}
        return self._reals

    def discriminator_inputs(self, name: str, now: Moment) -> Inputs:
        """The fakes are those that G's turn made, from before its step, and some of the pool."""
        random = generator(self.options.seed, f"pool of {name}", now.rollback, now.iteration)
        fakes = self.pools[name].mix(self._of_all_processes(self._fakes[name]), random)
        return {"reals": self._reals["B" if name == "D_A" else "A"], "fakes": fakes}

    def generator_losses(self, now: Moment, given: Inputs | None = None) -> Iterator[PartLoss]:
        """Fakes should look real, come back as what they were, and what looks right already should stay as it is.

        Every way is a part of its own: what they share is gradients, not graphs, so memory is that of one. Reports for each way what is lost without
        weights, on average; L1 distances are of pictures in [-1, 1].
        """
        options, G, D = self.options, {name: self.networks[f"G_{name}"] for name in "AB"}, {name: self.networks[f"D_{name}"] for name in "AB"}
        reals = self.generator_inputs(now) if given is None else given
        self._fakes = {"D_A": [], "D_B": []}
        for rows in self._parts():
            for (a, b), weight, back_weight in zip(WAYS, (options.lambda_a, options.lambda_b), (options.lambda_b, options.lambda_a), strict=True):
                real, other = reals[a][rows], reals[b][rows]
                # Pictures do not see each other: one pass for what is to be translated and what is to stay costs less than two.
                with self.devices.autocast(self.options.precision):
                    made = G[a](torch.cat([real, other]) if options.lambda_identity else real)
                    fake = made[: len(real)]
                    back, scores = G[b](fake), D[a](fake)
                self._fakes[f"D_{a}"].append(fake.detach().float())
                parts = {"adversarial": self._share(least_squares_g(scores.float()), rows), "cycle": self._share((back.float() - real).abs(), rows)}
                loss = parts["adversarial"] + weight * parts["cycle"]
                if options.lambda_identity:
                    parts["identity"] = self._share((made[len(real) :].float() - other).abs(), rows)
                    loss = loss + back_weight * options.lambda_identity * parts["identity"]
                yield loss, {f"{name}_{a.lower()}": part.detach() for name, part in parts.items()}

    def discriminator_losses(self, name: str, now: Moment, given: Inputs | None = None) -> Iterator[PartLoss]:
        """Reals should score 1 and fakes, new ones and those of the pool, 0; halved, so that D learns half as fast as G. Reports the mean scores."""
        given = self.discriminator_inputs(name, now) if given is None else given
        reals, fakes = given["reals"], given["fakes"]
        for rows in self._parts():
            with self.devices.autocast(self.options.precision):
                scores = self.networks[name](torch.cat([reals[rows], fakes[rows]]))
            real, fake = scores.float().chunk(2)
            shown = {f"{name.lower()}_real": self._share(real.detach(), rows), f"{name.lower()}_fake": self._share(fake.detach(), rows)}
            yield 0.5 * self._share(least_squares_d(real, fake), rows), shown

    def _parts(self) -> Iterator[slice]:
        return parts_of_batch(self.options.batch, self.options.side_by_side, self.devices)

    def _share(self, values: Tensor, rows: slice) -> Tensor:
        """The mean over all numbers of the part, as its share of the mean over the whole batch."""
        return values.mean() * ((rows.stop - rows.start) / self.options.batch)

    def batch(self, name: str, now: Moment) -> Tensor:
        """Pictures of a domain, some of them mirrored, cut at random places out of ones of `load_size`."""
        options = self.options
        pictures, _ = batch_of(self.data[name], self.orders[name], now.samples_seen, options.batch, self.devices.device, salt=now.rollback)
        if options.load_size is None:
            return pictures
        return cut_out(pictures, options.load_size, generator(options.seed, f"places in {name}", now.rollback, now.samples_seen))

    def _of_all_processes(self, mine: list[Tensor]) -> Tensor:
        """The fakes of the whole batch, the same in every process: so pools are the same too, and one checkpoint speaks for all."""
        own = torch.cat(mine)
        if self.devices.world_size == 1:
            return own
        whole = own.new_zeros(self.options.batch, *own.shape[1:])
        whole[self.devices.rank * len(own) : (self.devices.rank + 1) * len(own)] = own
        return self.devices.sum(whole)


def cut_out(pictures: Tensor, load_size: int, random: torch.Generator) -> Tensor:
    """Squares as large as the pictures [B, C, S, S] were, out of them enlarged to `load_size`, each at a place of its own. random: on the CPU."""
    B, _, S, _ = pictures.shape
    large = functional.interpolate(pictures, size=load_size, mode="bicubic", align_corners=False).clamp(-1, 1) if load_size > S else pictures
    places = numbers(torch.randint(load_size - S + 1, (B, 2), generator=random))
    return torch.stack([picture[:, top : top + S, left : left + S] for picture, (top, left) in zip(large, places, strict=True)])
