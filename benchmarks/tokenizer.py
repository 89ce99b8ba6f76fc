"""An epoch of training LETTER's tokenizer, and cornac's."""

import time
from functools import partial

import numpy as np
import torch
from cornac.models import LETTER
from cornac.models.letter import LETTER_BEAUTY_CONFIG
from cornac.models.letter import letter as cornac_letter

from benchmarks.beauty import Beauty
from benchmarks.common import Row, Settings, alternate, rows_by_dtype, timed
from letterlib.text import embed_texts
from letterlib.tokenizer import letter as our_letter
from letterlib.tokenizer.letter import standardize, to_unit_mean_norm
from letterlib.train import train

ALPHA, BETA = 0.1, 1e-4


class StartedRQVAE(cornac_letter.LETTERRQVAE):
    """cornac's RQ-VAE, started from given codebooks, so that an epoch is timed and not the
    constrained k-means on the whole catalogue that comes before the first.
    """

    books: list[torch.Tensor] = []
    started = 0.0

    @torch.no_grad()
    def initialize_codebooks(self, x: torch.Tensor) -> None:
        for level, book in enumerate(self.books):
            self.codebooks[level].copy_(book)
        StartedRQVAE.started = time.perf_counter()


class RQVAEOnly(LETTER):
    """cornac's LETTER as far as its tokenizer's training loop needs it."""

    def __init__(self, collaborative: np.ndarray, **options):
        super().__init__(**options)
        self.device_, self._collaborative = "cpu", collaborative

    def _get_cf_embeddings(self) -> np.ndarray:
        return self._collaborative


def measure(settings: Settings) -> list[Row]:
    semantic, collaborative, vectors = _vectors(settings)
    x = torch.from_numpy(semantic)
    config = our_letter.TokenizerConfig(alpha=ALPHA, beta=BETA, epochs=settings.pick(3, 1))
    start = our_letter.LetterTokenizer(config, settings.seed, "cpu")._new_module(x.shape[1])
    start.initialise_codebooks(x, settings.seed)
    StartedRQVAE.books = [book.detach().clone() for book in start.codebooks]
    # Both sides without validation: in the paper's 20,000 epochs ours looks at its collision rate
    # 21 times.
    our_letter.train = partial(_without_validation, train)
    cornac_letter.LETTERRQVAE = StartedRQVAE
    last: dict[str, float] = {}

    def ours(dtype: str) -> float:
        tokenizer = our_letter.LetterTokenizer(
            config.model_copy(update={"dtype": dtype}), settings.seed, "cpu"
        )
        module = tokenizer._new_module(x.shape[1])
        module.load_state_dict(start.state_dict())

        def run() -> None:
            last[dtype] = tokenizer._train(module, x, torch.from_numpy(collaborative)).losses[-1][
                "reconstruction"
            ]

        return timed(run) / config.epochs

    def peer() -> float:
        changed = {"cf_weight": ALPHA, "diversity_weight": BETA, "rqvae_n_epochs": config.epochs}
        jobs = {"rqvae_kmeans_jobs": settings.threads, "seed": settings.seed}
        model = RQVAEOnly(collaborative, **{**LETTER_BEAUTY_CONFIG, **changed, **jobs})
        model._fit_rqvae(torch, x)
        seconds = time.perf_counter() - StartedRQVAE.started
        with torch.no_grad():
            last["peer"] = float(model.rqvae(x[:1024])[2])
        return seconds / config.epochs

    runs = {"auto": partial(ours, "auto"), "float32": partial(ours, "float32"), "peer": peer}
    if settings.quick:
        del runs["float32"]
    else:
        for run in runs.values():
            run()  # the first pass of any is not counted
    return rows_by_dtype(
        alternate(runs, settings.pick(3, 1)),
        what="LETTER tokenizer, one epoch, 12,101 items x 384",
        unit="s",
        better="less",
        goal=3.0,
        peer="cornac LETTERRQVAE",
        note=lambda dtype: (
            f"{vectors}; MLP 2048-1024-512-256-128-64, 4 x 256 codes, batch 1024, alpha {ALPHA}, "
            f"beta {BETA}, groups refreshed every epoch, the same k-means codebooks to start from, "
            f"no validation. cornac: its own loop, with k-means on {settings.threads} job(s) "
            "instead of 10; as the released code does, it starts each grouping 10 times (ours "
            "once) and assigns the last level by Sinkhorn (ours by distance)."
        ),
        check=lambda dtype: (
            f"reconstruction loss after {config.epochs} epoch(s): ours {last[dtype]:.3f} (mean "
            f"over the epoch), cornac {last['peer']:.3f} (at its end)"
        ),
    )


def _vectors(settings: Settings) -> tuple[np.ndarray, np.ndarray, str]:
    """Item vectors, and what they are: MiniLM of the titles; random ones with --quick."""
    dataset = Beauty.load(settings).dataset
    n, generator = dataset.n_items, np.random.default_rng(settings.seed)
    collaborative = generator.standard_normal((n, our_letter.CODE_DIM), dtype=np.float32)
    if settings.quick:
        semantic, what = generator.standard_normal((n, 384), dtype=np.float32), "random vectors"
    else:
        semantic, what = embed_texts(dataset.titles(), device="cpu"), "MiniLM of the titles"
    what += ", random collaborative vectors"
    return standardize(semantic), to_unit_mean_norm(collaborative), what


def _without_validation(run, *args, **options):
    return run(*args, **{**options, "validate": None})
