"""What LETTER's tokenizer is trained with, and how a training went."""

from dataclasses import dataclass

from pydantic import Field, PositiveInt

from letterlib.checkpoint import TrainingLog
from letterlib.tokenizer.collisions import CollisionReport
from letterlib.tokenizer.rqvae import StraightThrough
from letterlib.train import Dtype, Settings, WeightDecay

CODE_DIM = 32


class TokenizerConfig(Settings):
    """Defaults are the paper's (section 4.1). alpha = beta = 0 is TIGER's plain RQ-VAE tokenizer."""

    alpha: float = Field(0.02, ge=0, description="weight of the collaborative loss")
    beta: float = Field(1e-4, ge=0, description="weight of the diversity loss")
    mu: float = Field(0.25, ge=0, description="weight of the commitment term")
    n_levels: int = Field(4, ge=1, le=26, description="codes per identifier")
    n_codes: int = Field(256, ge=4, description="codes per level")
    hidden: tuple[PositiveInt, ...] = Field(
        (2048, 1024, 512, 256, 128, 64), description="encoder widths"
    )
    n_groups: int = Field(10, ge=1, description="groups of codes for the diversity loss")
    straight_through: StraightThrough = Field(
        "final", description="or per-level; where gradients pass the codes"
    )
    epochs: int = Field(20_000, ge=1, description="passes over the items")
    batch_size: int = Field(1024, ge=2, description="items per step")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW, the same throughout")
    weight_decay: WeightDecay = 1e-4
    dtype: Dtype = "auto"


@dataclass(frozen=True)
class TokenizerReport:
    """How a fit went.

    log: every loss per epoch. A validation's score is (distinct identifiers - L_Recon, at most 1) /
    items: fewest
        collisions first, and among equals the better reconstruction.
    dead_codes: codes per level that no item has, after the repair. collisions: before and after the
    repair.
    reconstruction_error: L_Recon on the catalogue from the first 1, 2, ..., L codes, before the
    repair; the
        input has variance 1, so it is the share of variance that the codes leave unexplained.
    """

    log: TrainingLog
    dead_codes: tuple[int, ...]
    collisions: CollisionReport
    reconstruction_error: tuple[float, ...]
