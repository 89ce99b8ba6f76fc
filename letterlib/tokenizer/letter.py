"""LETTER's tokenizer: text and collaborative vectors of items in, one identifier per item out.

An RQ-VAE (`rqvae.py`) codes an item's text vector s, level by level:

    z = encoder(s) and r_0 = z
    level l takes the code whose vector e_l is nearest to r_(l-1), and leaves r_l = r_(l-1) - e_l
    z^ = e_1 + ... + e_L and s^ = decoder(z^)

The codes of the L levels are the identifier. The RQ-VAE is trained with three regularizers (LETTER,
Wang et al. 2024, section 3.1), where h is the item's collaborative vector:

    L = L_Sem + alpha L_CF + beta L_Div
    L_Sem = L_Recon + L_RQ-VAE   s^ is to be near s, and e_l near r_(l-1)
    L_CF                         z^ is to have its largest dot product with the item's own h
    L_Div                        items are to spread evenly over the codes

`LetterTokenizer.training_losses` computes them in this order; `losses.py` has a function for each.
After training, items that share all codes get new last codes by Sinkhorn-Knopp, in rounds
(`collisions.py`); a few may go on sharing.
"""

import operator
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

from letterlib.distributed import broadcast, share, weighed
from letterlib.errors import Learned, LetterError
from letterlib.store import digest
from letterlib.tokenizer import losses
from letterlib.tokenizer.collisions import CollisionReport, repair_collisions
from letterlib.tokenizer.grouping import constrained_kmeans_groups, quick_groups
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.rqvae import RQVAE, Start, StraightThrough, in_blocks
from letterlib.train import (
    Dtype,
    Settings,
    TrainingLog,
    WeightDecay,
    epoch_seed,
    load_model,
    resolve_device,
    resolve_dtype,
    save_model,
    seeded,
    strip_prefix,
    train,
)

CODE_DIM = 32
"""Dimensions of a code vector in the paper, and so of the collaborative vectors."""

DROWNED = 30
"""How many times the median row's length the root mean square of all lengths may be. Beyond it a
few rows decide the scale, and the others become alike: at 34, 60 items got 57 identifiers, at 79
they got 47, and with one row of 1e38 they got 2.
"""

VALIDATIONS = 20
"""How often a run is scored, about: at equal intervals in its second half."""


class TokenizerConfig(Settings):
    """alpha = beta = 0 is TIGER's RQ-VAE tokenizer.

    Defaults are the paper's (section 4.1); encoder widths and weight decay those of the authors'
    code.
    """

    alpha: float = Field(0.02, ge=0, description="weight of the collaborative loss")
    beta: float = Field(1e-4, ge=0, description="weight of the diversity loss")
    mu: float = Field(0.25, ge=0, description="weight of the commitment term")
    # At most 26: each level has a letter in the tokens, `<a_12>`.
    n_levels: int = Field(4, ge=1, le=26, description="codes per identifier")
    n_codes: int = Field(256, ge=4, description="codes per level")
    hidden: tuple[PositiveInt, ...] = Field(
        (2048, 1024, 512, 256, 128, 64), description="encoder widths"
    )
    code_dim: int = Field(
        CODE_DIM,
        ge=1,
        description="width of code vectors; with alpha > 0 also that of sasrec_32.dimensions",
    )
    n_groups: int = Field(10, ge=1, description="groups of codes for the diversity loss")
    # On a GPU exact k-means, which stays on the processor, is most of an epoch.
    grouping: Literal["exact", "quick"] = Field(
        "exact", description="or quick, a tenth of the time; k-means of the codes for those groups"
    )
    placebo: bool = Field(
        False, description="deal the collaborative vectors to random items: a control of L_CF"
    )
    # "final": one straight-through step, around z^. "per-level", as in the authors' code: one at
    # each level, so that only level 1's commitment term trains the encoder.
    straight_through: StraightThrough = Field(
        "final", description="or per-level; where gradients pass the codes"
    )
    # The authors' code has "constrained" and True in these two.
    start: Start = Field(
        "kmeans", description="or constrained, to similar sizes; clusters that start the codebooks"
    )
    sinkhorn: bool = Field(
        False, description="in training, deal the last level's codes out evenly over a batch"
    )
    epochs: int = Field(20_000, ge=1, description="passes over the items")
    batch_size: int = Field(1024, ge=2, description="items per step")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW, the same throughout")
    weight_decay: WeightDecay = 1e-4
    dtype: Dtype = "auto"

    @model_serializer(mode="wrap")
    def _without_newer_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out settings that files and keys are older than, where they have their default."""
        values = dump(self)
        for name, usual in {"code_dim": CODE_DIM, "grouping": "exact"}.items():
            if values.get(name) == usual:
                del values[name]
        return values


@dataclass(frozen=True)
class Batch:
    """What one training step reads.

    semantic: float [n, d], standardised text vectors of the step's items.
    collaborative: float [batch, 32], or None; L_CF tells an item from all others of the batch.
    own: int64 [n], the row of `collaborative` of each item. One process has n = batch and own =
        0..n-1; several have a share of the items each.
    groups: int64 [n_codes] per level, the group of each code; empty without L_Div.
    draws: float [n] per level, uniform numbers that choose the positives of L_Div.
    """

    semantic: Tensor
    collaborative: Tensor | None
    own: Tensor
    groups: list[Tensor]
    draws: list[Tensor]


@dataclass(frozen=True)
class TokenizerReport:
    """How a fit went.

    log: every loss per epoch. A validation's score is (distinct identifiers - min(L_Recon, 1)) /
        items: fewest collisions first, and among equals the better reconstruction.
    dead_codes: codes per level that no item has, after the repair.
    collisions: before and after the repair.
    reconstruction_error: L_Recon on the catalogue from the first 1, 2, ..., L codes, before the
        repair. The input has variance 1, so it is the share of variance left unexplained.
    """

    log: TrainingLog
    dead_codes: tuple[int, ...]
    collisions: CollisionReport
    reconstruction_error: tuple[float, ...]


# The scales of the two inputs


@dataclass(frozen=True)
class Standardization:
    """Subtract the mean of each column, divide by one standard deviation of all numbers.

    One deviation for all columns, because scaling each would weigh noise as much as meaning. Left
    as they are, unit-norm rows of 384 numbers have an L_Recon of about 1/384 = .0026, and
    alpha L_CF, about .02 ln 1024 = .14, would drown it.
    mean: float64 [d] and scale: of the rows that the tokenizer was fitted on.
    """

    mean: np.ndarray
    scale: float

    @classmethod
    def of(cls, fitted: np.ndarray) -> Self:
        """Mean and deviation of rows float [n, d]."""
        if (fitted == fitted[:1]).all():
            raise LetterError(
                "semantic embeddings: all rows are equal, so no item can be told from another; "
                "make the embeddings again"
            )
        _check_lengths("semantic embeddings", fitted)
        mean = fitted.mean(axis=0, dtype=np.float64)
        return cls(mean, float((fitted.astype(np.float64) - mean).std()))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Scale any rows, fitted or new: float [n, d] -> float32 [n, d]."""
        x = np.asarray(x)
        check_rows("semantic embeddings", x)
        if x.shape[1] != len(self.mean):
            raise LetterError(
                f"semantic embeddings: rows of {x.shape[1]} numbers, but the tokenizer was fitted "
                f"on rows of {len(self.mean)}; use the same text encoder"
            )
        return ((x.astype(np.float64) - self.mean) / self.scale).astype(np.float32)


def standardize(x: np.ndarray) -> np.ndarray:
    """Rows in the `Standardization` of their own: float32, same shape."""
    return Standardization.of(x)(x)


def to_unit_mean_norm(x: np.ndarray) -> np.ndarray:
    """Divide all rows by their mean Euclidean norm: float32, same shape.

    The logits of L_CF are dot products, so the scale of a CF model would act as a temperature. With
    this it does not matter; a vector that all rows have in common still does, through the norm.
    (The authors use SASRec's vectors as they are; theirs have a mean norm of 0.78.)
    """
    norm = float(_check_lengths("collaborative embeddings", x).mean())
    if not norm:
        raise LetterError("collaborative embeddings: all numbers are 0; make the embeddings again")
    return (x / norm).astype(np.float32)


def _check_lengths(what: str, x: np.ndarray) -> np.ndarray:
    """The rows' Euclidean norms, float64 [n]; LetterError if a few rows drown all others."""
    with np.errstate(over="ignore"):  # 1e200 is refused, too
        norms = np.linalg.norm(x.astype(np.float64), axis=1)
        scale, usual = float(np.sqrt((norms**2).mean())), float(np.median(norms))
    if usual and scale > DROWNED * usual:
        raise LetterError(
            f"{what}: item {norms.argmax()} has a vector of length {norms.max():.3g}, the median "
            f"item one of {usual:.3g}; at that scale the other items would look alike. Make its "
            "vector again, or leave the item out"
        )
    return norms


def check_rows(what: str, x: np.ndarray) -> None:
    """LetterError unless x is a table of finite numbers [n_items, d]; `what` is its name."""
    if x.ndim != 2:
        raise LetterError(f"{what}: expected numbers [n_items, dimensions], not {x.shape}")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise LetterError(
            f"{what}: row {bad[0]} has NaN or infinite numbers ({len(bad):,} such rows); "
            "make the embeddings again"
        )


def _check_collaborative(x: np.ndarray, n_items: int, width: int) -> None:
    check_rows("collaborative embeddings", x)
    if x.shape != (n_items, width):
        raise LetterError(
            f"collaborative embeddings: {x.shape[0]:,} rows of {x.shape[1]} numbers; expected a "
            f"row of {width} (code_dim) for each of the {n_items:,} items that have semantic ones"
        )


# The tokenizer


class LetterTokenizer:
    """RQ-VAE trained with L_Sem + alpha L_CF + beta L_Div. LETTER section 3.1.

    config: or its fields as keywords, `LetterTokenizer(alpha=0.1)`.
    seed: of weights, batches, groups and positives.
    device: auto, cpu, cuda or cuda:NUMBER.
    checkpoint: a file from which an interrupted `fit` resumes; the caller removes it.

    After `fit`: `identifiers()`, `report`, and `standardize`, which scales text vectors as those
    that `fit` got.

    A tokenizer of your own is a subclass that replaces one of these (docs/extend.md):
    Config: its settings, a subclass of TokenizerConfig.
    Network: its quantiser, a subclass of RQVAE with other codebooks, or another `quantise`.
    training_losses: what a step minimises.
    version: raise it when the class computes something else than before; part of the cache's key.
    """

    Config: ClassVar[type[TokenizerConfig]] = TokenizerConfig
    Network: ClassVar[type[RQVAE]] = RQVAE
    version: ClassVar[int] = 1

    standardize: Standardization = Learned()
    _module: RQVAE = Learned()
    _codes: np.ndarray = Learned()
    _identifiers: Identifiers = Learned()
    report: TokenizerReport = Learned()

    def __init__(
        self,
        config: TokenizerConfig | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
        **settings: Any,
    ) -> None:
        self.config = self.Config.resolve(config, settings)
        self.seed = operator.index(seed)  # also of numpy's integers
        self.checkpoint = checkpoint
        self._device = resolve_device(device)

    def fit(self, semantic: np.ndarray, collaborative: np.ndarray | None = None) -> Self:
        """Learn the codes of a catalogue.

        semantic: float [n_items, d], text vectors, row = item id.
        collaborative: float [n_items, code_dim], item vectors of a recommender; needed if
            alpha > 0.
        """
        semantic = np.asarray(semantic)
        check_rows("semantic embeddings", semantic)
        standardization = Standardization.of(semantic)
        x, cf = torch.from_numpy(standardization(semantic)).to(self._device), None
        if collaborative is not None:
            collaborative = np.asarray(collaborative)
            _check_collaborative(collaborative, len(semantic), self.config.code_dim)
            if self.config.placebo:
                random = np.random.default_rng(self.seed)
                collaborative = collaborative[random.permutation(len(collaborative))]
            cf = torch.from_numpy(to_unit_mean_norm(collaborative)).to(self._device)
        elif self.config.alpha:
            raise LetterError(
                "alpha > 0 needs collaborative embeddings; give them, or set alpha to 0"
            )
        module = self._new_module(x.shape[1])
        # k-means of the catalogue's residuals, level by level; needs n_items >= n_codes.
        module.initialise_codebooks(x, self.seed, self.config.start)
        log = self._train(module, x, cf)
        module = module.to(self._device)
        codes, last_residuals = (found.cpu().numpy() for found in module.encode(x))
        before = Identifiers(codes, (self.config.n_codes,) * self.config.n_levels)
        identifiers, collisions = repair_collisions(
            before, last_residuals, module.codebooks[-1].detach().cpu().numpy()
        )
        report = TokenizerReport(
            log, identifiers.dead_codes, collisions, _reconstruction_error(module, x)
        )
        # Set together at the end: an interrupted second fit keeps the first one whole.
        self._module, self.standardize, self._codes = module, standardization, codes
        self._identifiers, self.report = identifiers, report
        return self

    def training_losses(self, module: RQVAE, batch: Batch) -> dict[str, Tensor]:
        """The losses of one training step: `loss`, which is minimised, and its parts.

        A loss of your own is computed after L_Div and added to the total (docs/architecture.md).
        """
        config, out = self.config, module(batch.semantic)

        # L_Sem = L_Recon + L_RQ-VAE
        parts = {
            "reconstruction": losses.reconstruction_loss(out.reconstruction, batch.semantic),
            "rq": losses.rq_loss(out.residuals, out.vectors, config.mu),
        }

        # L_CF: z^ of an item has its largest dot product with the item's own collaborative vector.
        # With alpha = 0 it is logged, so that variants can be compared, and not minimised.
        if batch.collaborative is not None:
            with torch.set_grad_enabled(config.alpha > 0):
                parts["collaborative"] = losses.collaborative_loss(
                    out.quantised, batch.collaborative, batch.own
                )

        # L_Div: an item's code vector has its largest dot product with another one of its group.
        # With beta = 0 it is not logged: its groups are a k-means per level and epoch.
        if config.beta:
            positives = [
                losses.sample_positives(codes, groups, draws)
                for codes, groups, draws in zip(out.codes.T, batch.groups, batch.draws, strict=True)
            ]
            parts["diversity"] = losses.diversity_loss(
                out.codes, torch.stack(positives, dim=1), list(module.codebooks)
            )

        # L = L_Sem + alpha L_CF + beta L_Div
        total = losses.letter_loss(
            parts["reconstruction"],
            parts["rq"],
            parts["collaborative"] if config.alpha else 0.0,
            parts.get("diversity", 0.0),
            config.alpha,
            config.beta,
        )
        return {"loss": total, **parts}

    # `share`, `weighed` and `broadcast` are for several processes; with one they change nothing.
    def _train(self, module: RQVAE, x: Tensor, cf: Tensor | None) -> TrainingLog:
        """Train `module` and leave it with the weights of its best validated epoch: that with the
        fewest collisions, then the lowest L_Recon.

        Every epoch groups the codes anew, then goes through shuffled batches.
        x: float [n_items, d], standardised; cf: float [n_items, 32], or None.
        """
        config, groups = self.config, []
        # The numbers that choose positives have a generator to themselves: `train` seeds torch's
        # own differently in each process, and all processes need the same numbers.
        generator = torch.Generator(x.device)

        def start_epoch(epoch: int) -> None:
            generator.manual_seed(epoch_seed(self.seed, epoch))
            if config.beta:
                grouped = broadcast(lambda: self._groups(module, epoch))
                groups[:] = [torch.from_numpy(group).to(x.device) for group in grouped]

        def batches(random: np.random.Generator) -> Iterator[Batch]:
            order = torch.from_numpy(random.permutation(len(x))).to(x.device)
            for rows in order.split(config.batch_size):
                own = share(torch.arange(len(rows), device=x.device))
                draws = [
                    torch.rand(len(rows), generator=generator, device=x.device)[own] for _ in groups
                ]
                yield Batch(x[rows[own]], None if cf is None else cf[rows], own, groups, draws)

        def loss(module: RQVAE, batch: Batch) -> dict[str, Tensor]:
            return weighed(self.training_losses(module, batch), len(batch.own))

        def validate() -> float:
            codes, _ = module.encode(x)
            decoded = in_blocks(module.decoder, module.sum_of_vectors(codes, config.n_levels))
            error = float(losses.reconstruction_loss(decoded, x))  # weighs at most one collision
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
            data=digest(*(given.cpu().numpy() for given in (x, cf) if given is not None)),
            start_epoch=start_epoch,
            checkpoint=self.checkpoint,
            # In the second half alone: an untrained encoder scatters items, so its codes collide
            # little without being good.
            validate=validate,
            validate_every=max(1, config.epochs // 2 // VALIDATIONS),
            validate_from=config.epochs // 2,
        )

    def _groups(self, module: RQVAE, epoch: int) -> list[np.ndarray]:
        """Groups of every level's codes by k-means with bounded sizes: at least 2, so that every
        code has a positive. They depend on seed, epoch and codebooks alone.
        """
        seeds = np.random.SeedSequence([self.seed, epoch]).generate_state(self.config.n_levels)
        group = quick_groups if self.config.grouping == "quick" else constrained_kmeans_groups
        return [
            group(book.detach().cpu().numpy(), self.config.n_groups, int(seed))
            for book, seed in zip(module.codebooks, seeds, strict=True)
        ]

    def _new_module(self, input_dim: int) -> RQVAE:
        config = self.config
        with seeded(self.seed):
            module = self.Network(
                input_dim,
                config.hidden,
                config.code_dim,
                config.n_levels,
                config.n_codes,
                config.straight_through,
                resolve_dtype(config.dtype, self._device),
                config.sinkhorn,
            )
        return module.to(self._device)

    # What a fitted tokenizer answers

    def identifiers(self) -> Identifiers:
        """One identifier per item, after the repair of collisions."""
        return self._identifiers

    def codes_before_repair(self) -> np.ndarray:
        """The codes that the model itself chose: int64 [n_items, L]."""
        return self._codes.copy()

    def codebooks(self) -> list[np.ndarray]:
        """The code vectors of every level: float32 [n_codes, 32] each."""
        return [book.detach().cpu().numpy().copy() for book in self._module.codebooks]

    def quantised(self) -> np.ndarray:
        """z^ of every item, from the codes before the repair: float32 [n_items, 32]."""
        codes = torch.from_numpy(self._codes).to(self._device)
        return self._module.sum_of_vectors(codes, self.config.n_levels).cpu().numpy()

    @torch.no_grad()
    def latent(self, semantic: np.ndarray) -> np.ndarray:
        """z of any items, fitted or new: text vectors float [n, d] -> float32 [n, 32]."""
        x = torch.from_numpy(self.standardize(semantic))
        return self._module.encoder(x.to(self._device)).cpu().numpy()

    def encode(self, semantic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of any items, fitted or new, before any repair of collisions.

        semantic: float [n, d], text vectors of the same encoder as those that `fit` got.
        Returns codes int64 [n, L], and the last residuals r_(L-1), float32 [n, 32].
        """
        x = torch.from_numpy(self.standardize(semantic)).to(self._device)
        codes, last_residuals = self._module.encode(x)
        return codes.cpu().numpy(), last_residuals.cpu().numpy()

    @torch.no_grad()
    def decoded(self, quantised: np.ndarray) -> np.ndarray:
        """s^ from z^: float32 [n, 32] -> float32 [n, d], in the standardised space."""
        z = torch.tensor(quantised.copy(), dtype=torch.float32).to(self._device)
        return self._module.decoder(z).cpu().numpy()

    def save(self, path: str | Path) -> None:
        """Write one safetensors file that `load` reads: weights, codes and report."""
        tensors = {
            f"module.{name}": value.cpu() for name, value in self._module.state_dict().items()
        }
        tensors["codes_before_repair"] = torch.from_numpy(self._codes)
        tensors["codes"] = torch.tensor(self._identifiers.codes)
        tensors["mean"] = torch.from_numpy(self.standardize.mean)
        tensors["scale"] = torch.tensor(self.standardize.scale, dtype=torch.float64)
        report = asdict(self.report)
        del report["log"]  # has a place of its own in the file
        save_model(
            path, type(self).__name__, tensors, self.config, self.seed, self.report.log, report
        )

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote."""
        saved = load_model(path, cls.__name__, cls.Config)
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
        float(losses.reconstruction_loss(in_blocks(module.decoder, vectors), x))
        for n in range(1, module.n_levels + 1)
        for vectors in [module.sum_of_vectors(codes, n)]
    )
