"""LETTER's tokenizer: semantic and collaborative item vectors in, `Identifiers` out."""

from collections.abc import Iterator
from dataclasses import asdict
from operator import index
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from letterlib.checkpoint import strip_prefix
from letterlib.distributed import broadcast, share, weighed
from letterlib.errors import Learned, LetterError
from letterlib.saved_model import load_model, save_model
from letterlib.store import digest
from letterlib.tokenizer import losses
from letterlib.tokenizer.clustering import constrained_kmeans_groups
from letterlib.tokenizer.collisions import CollisionReport, repair_collisions
from letterlib.tokenizer.config import CODE_DIM, TokenizerConfig, TokenizerReport
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.item_vectors import Standardization, check_item_vectors, to_unit_mean_norm
from letterlib.tokenizer.rqvae import RQVAE
from letterlib.train import TrainingLog, epoch_seed, resolve_device, resolve_dtype, seeded, train

VALIDATIONS = (
    40  # in its second half a run looks at its collision rate, every epochs // VALIDATIONS epochs
)


class LetterTokenizer:
    """RQ-VAE trained with L_Recon + L_RQ-VAE + alpha L_CF + beta L_Div. LETTER section 3.1.

    checkpoint: where an interrupted `fit` goes on from; the caller removes it.
    """

    standardize: Standardization = Learned()
    """How text vectors are scaled before the encoder reads them: by the rows that `fit` got."""
    _module: RQVAE = Learned()
    _codes: np.ndarray = Learned()
    _identifiers: Identifiers = Learned()
    report: TokenizerReport = Learned()

    def __init__(
        self,
        config: TokenizerConfig,
        seed: int,
        device: str = "auto",
        checkpoint: Path | None = None,
    ) -> None:
        self.config, self.seed, self.checkpoint = config, index(seed), checkpoint
        self._device = resolve_device(device)

    def fit(self, semantic: np.ndarray, collaborative: np.ndarray | None = None) -> Self:
        """Learn the codes of a catalogue.

        semantic: float [n_items, d]; collaborative: float [n_items, 32], needed where alpha > 0.
        """
        semantic = np.asarray(semantic)
        collaborative = None if collaborative is None else np.asarray(collaborative)
        if self.config.alpha and collaborative is None:
            raise LetterError(
                "alpha > 0 needs collaborative embeddings; give them, or set alpha to 0"
            )
        check_item_vectors(semantic, collaborative, CODE_DIM)
        standardization = Standardization.of(semantic)
        x = torch.from_numpy(standardization(semantic)).to(self._device)
        cf = (
            None
            if collaborative is None
            else torch.from_numpy(to_unit_mean_norm(collaborative)).to(self._device)
        )
        module = self._new_module(x.shape[1])
        module.initialise_codebooks(x, self.seed)
        log = self._train(module, x, cf)
        module = module.to(self._device).eval()
        codes, residuals = (one.cpu().numpy() for one in module.encode(x))
        before = Identifiers(codes, (self.config.n_codes,) * self.config.n_levels)
        identifiers, collisions = repair_collisions(
            before, residuals, module.codebooks[-1].detach().cpu().numpy()
        )
        report = TokenizerReport(
            log, identifiers.dead_codes, collisions, _reconstruction_error(module, x)
        )
        # All at once: whoever is interrupted keeps what an earlier fit learnt, whole.
        self._module, self.standardize, self._codes = module, standardization, codes
        self._identifiers, self.report = identifiers, report
        return self

    def _new_module(self, input_dim: int) -> RQVAE:
        config = self.config
        with seeded(self.seed):
            module = RQVAE(
                input_dim,
                config.hidden,
                CODE_DIM,
                config.n_levels,
                config.n_codes,
                config.straight_through,
                resolve_dtype(config.dtype, self._device),
            )
        return module.to(self._device)

    def _train(self, module: RQVAE, x: Tensor, cf: Tensor | None) -> TrainingLog:
        config, groups = self.config, []
        draws = torch.Generator(
            module.codebooks[0].device
        )  # its own: all processes draw the same positives

        def batches(generator: np.random.Generator) -> Iterator[Tensor]:
            yield from (
                torch.from_numpy(generator.permutation(len(x)))
                .to(x.device)
                .split(config.batch_size)
            )

        def regroup(epoch: int) -> None:
            draws.manual_seed(epoch_seed(self.seed, epoch))
            if config.beta:
                grouped = broadcast(lambda: self._groups(module, epoch))
                groups[:] = [
                    torch.from_numpy(one).to(module.codebooks[0].device) for one in grouped
                ]

        def loss(module: RQVAE, rows: Tensor) -> dict[str, Tensor]:
            return self._losses(module, groups, draws, x[rows], None if cf is None else cf[rows])

        def validate() -> float:
            codes, _ = module.encode(x)
            decoded = module.decoder(module.vectors_of(codes, config.n_levels))
            error = float(
                losses.reconstruction_loss(decoded, x)
            )  # at most 1 counts, the weight of an item
            return (len(torch.unique(codes, dim=0)) - min(error, 1.0)) / len(codes)

        return train(
            module,
            batches,
            loss,
            epochs=config.epochs,
            steps_per_epoch=-(-len(x) // config.batch_size),
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            seed=self.seed,
            what="tokenizer",
            config=config,
            data=digest(*(one.cpu().numpy() for one in (x, cf) if one is not None)),
            start_epoch=regroup,
            checkpoint=self.checkpoint,
            # Early codes collide little because an untrained encoder scatters items: they do not
            # compete.
            validate=validate,
            validate_every=max(1, config.epochs // VALIDATIONS),
            validate_from=config.epochs // 2,
        )

    def _groups(self, module: RQVAE, epoch: int) -> list[np.ndarray]:
        """The groups of every level's codes for one epoch; they depend on (seed, epoch) and the
        codebooks alone.
        """
        seeds = np.random.SeedSequence([self.seed, epoch]).generate_state(self.config.n_levels)
        return [
            constrained_kmeans_groups(book.detach().cpu().numpy(), self.config.n_groups, int(seed))
            for book, seed in zip(module.codebooks, seeds, strict=True)
        ]

    def _losses(
        self,
        module: RQVAE,
        groups: list[Tensor],
        draws: torch.Generator,
        x: Tensor,
        cf: Tensor | None,
    ) -> dict[str, Tensor]:
        """The losses of this process's share of a batch.

        groups: of every level's codes; draws: chooses among them. x [batch, d] and cf [batch, 32]
        are all of the batch, since L_CF tells an item apart from every other one, whichever process
        has that.
        """
        config, batch = self.config, len(x)
        own, x = share(torch.arange(batch, device=x.device)), share(x)
        out = module(x)
        parts = {
            "reconstruction": losses.reconstruction_loss(out.reconstruction, x),
            "rq": losses.rq_loss(out.residuals, out.vectors, config.mu),
        }
        if cf is not None:
            # Logged wherever vectors are given, so that arms can be compared; without alpha it is
            # not minimised.
            with torch.set_grad_enabled(config.alpha > 0):
                parts["collaborative"] = losses.collaborative_loss(out.quantised, cf, own)
        if config.beta:
            numbers = [torch.rand(batch, generator=draws, device=x.device)[own] for _ in groups]
            drawn = [
                losses.sample_positives(*one)
                for one in zip(out.codes.T, groups, numbers, strict=True)
            ]
            parts["diversity"] = losses.diversity_loss(
                out.codes, torch.stack(drawn, dim=1), list(module.codebooks)
            )
        parts = weighed(parts, len(own))
        total = losses.letter_loss(
            parts["reconstruction"],
            parts["rq"],
            parts["collaborative"] if config.alpha else 0.0,
            parts.get("diversity", 0.0),
            config.alpha,
            config.beta,
        )
        return {"loss": total, **parts}

    def identifiers(self) -> Identifiers:
        """One identifier per item, after the repair of collisions."""
        return self._identifiers

    def codes_before_repair(self) -> np.ndarray:
        """The codes that the model itself chose: int64 [n_items, L]."""
        return self._codes.copy()

    def quantised(self) -> np.ndarray:
        """z^ of every item, from the codes that the model chose (before the repair): float32
        [n_items, 32].
        """
        codes = torch.from_numpy(self._codes).to(self._device)
        return self._module.vectors_of(codes, self.config.n_levels).cpu().numpy()

    @torch.no_grad()
    def latent(self, semantic: np.ndarray) -> np.ndarray:
        """z of any items, fitted or new, before a code is chosen: float [n, d], text vectors ->
        float32 [n, 32].
        """
        x = torch.from_numpy(self.standardize(semantic))
        return self._module.encoder(x.to(self._device)).cpu().numpy()

    def encode(self, semantic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of any items, fitted or new, and what the last level had to code: int64 [n, L] and
        float32 [n, 32].

        semantic: float [n, d], text vectors of the same encoder as those that `fit` got.
        """
        found = self._module.encode(torch.from_numpy(self.standardize(semantic)).to(self._device))
        codes, residuals = (one.cpu().numpy() for one in found)
        return codes, residuals

    @torch.no_grad()
    def decoded(self, quantised: np.ndarray) -> np.ndarray:
        """What the decoder makes of z^, in the standardised space: float32 [n_items, 32] -> float32
        [n_items, d].
        """
        return (
            self._module.decoder(
                torch.tensor(quantised.copy(), dtype=torch.float32).to(self._device)
            )
            .cpu()
            .numpy()
        )

    def codebooks(self) -> list[np.ndarray]:
        """The code vectors of every level: float32 [n_codes, 32] each."""
        return [book.detach().cpu().numpy().copy() for book in self._module.codebooks]

    def save(self, path: str | Path) -> None:
        """One safetensors file that `load` reads: weights, codes and report."""
        tensors = {
            f"module.{name}": value.cpu() for name, value in self._module.state_dict().items()
        }
        tensors["codes_before_repair"] = torch.from_numpy(self._codes)
        tensors["codes"] = torch.tensor(self._identifiers.codes)
        tensors["mean"] = torch.from_numpy(self.standardize.mean)
        tensors["scale"] = torch.tensor(self.standardize.scale, dtype=torch.float64)
        report = {
            name: value for name, value in asdict(self.report).items() if name != "log"
        }  # which goes beside it
        save_model(
            path, "LetterTokenizer", tensors, self.config, self.seed, self.report.log, report
        )

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        saved = load_model(path, "LetterTokenizer", TokenizerConfig)
        self, tensors, report = cls(saved.config, saved.seed, device), saved.tensors, saved.report
        state = strip_prefix("module.", tensors)
        self._module = self._new_module(state["encoder.0.weight"].shape[1]).eval()
        self._module.load_state_dict(state)
        self.standardize = Standardization(tensors["mean"].numpy(), tensors["scale"].item())
        self._codes = tensors["codes_before_repair"].numpy()
        self._identifiers = Identifiers(
            tensors["codes"].numpy(), (self.config.n_codes,) * self.config.n_levels
        )
        self.report = TokenizerReport(
            saved.log,
            tuple(report["dead_codes"]),
            CollisionReport(**report["collisions"]),
            tuple(report["reconstruction_error"]),
        )
        return self


@torch.no_grad()
def _reconstruction_error(module: RQVAE, x: Tensor) -> tuple[float, ...]:
    codes, _ = module.encode(x)
    return tuple(
        float(losses.reconstruction_loss(module.decoder(module.vectors_of(codes, n)), x))
        for n in range(1, module.n_levels + 1)
    )
