"""The three profiles: one dial for size, no other branches.

`smoke` ends in seconds and proves that everything fits together; its results mean nothing. `laptop`
takes minutes on two cores and is good enough to look at. `paper` has the paper's hyper-parameters
and wants a GPU. What a profile does not say is the default of the room's own class, such as
`TigerConfig`.
"""

from typing import Any

PROFILES: dict[str, dict[str, Any]] = {
    "smoke": {
        "sasrec_32": dict(dimensions=32, n_heads=1, history=10, epochs=1),
        "mf": dict(dimensions=16, epochs=2),
        "caser": dict(dimensions=16, horizontal=4, epochs=1),
        "hgn": dict(dimensions=16, epochs=1),
        "bert4rec": dict(dimensions=32, n_heads=1, history=10, epochs=1),
        "lightgcn": dict(dimensions=16, epochs=2),
        "sasrec": dict(dimensions=32, n_heads=1, history=10, loss="bce", epochs=1),
        "sasrec_tuned": dict(dimensions=32, n_heads=1, history=10, epochs=1),
        "bigrec": dict(
            language_model="tiny",
            history=5,
            targets=20,
            lists=20,
            epochs=1,
            batch_size=8,
            learning_rate=5e-3,
            title_tokens=12,
            validation_cases=10,
        ),
        "tokenizer": dict(hidden=(64,), n_codes=32, n_groups=4, epochs=5),
        "tiger": dict(
            d_model=32,
            d_ff=64,
            n_heads=2,
            d_head=16,
            n_layers=1,
            history=5,
            epochs=1,
            examples=2000,
            batch_size=128,
            learning_rate=3e-3,
        ),
        "lcrec": dict(
            language_model="tiny",
            history=5,
            targets=20,
            lists=30,
            alignment=0.5,
            epochs=1,
            batch_size=16,
            learning_rate=5e-3,
        ),
        "language_model_cases": 30,
    },
    "laptop": {
        "sasrec_32": dict(dimensions=32, n_heads=1, epochs=8, dropout=0.3, learning_rate=2e-3),
        "mf": {},
        "caser": dict(epochs=12, learning_rate=3e-3, dropout=0.3),
        "hgn": dict(epochs=12, learning_rate=3e-3, dropout=0.3),
        "bert4rec": dict(epochs=30, batch_size=256, learning_rate=2e-3, patience=10),
        "lightgcn": dict(epochs=60),
        # Its authors' settings: 50 dimensions, one head, one negative a place, this rate, .2 on
        # MovieLens.
        "sasrec": dict(
            dimensions=50, n_heads=1, loss="bce", epochs=40, dropout=0.2, learning_rate=1e-3
        ),
        "sasrec_tuned": dict(dimensions=64, n_heads=2, epochs=12, dropout=0.3, learning_rate=2e-3),
        "bigrec": dict(
            targets=10,
            dropout=0.0,
            epochs=6,
            lists=500,
            batch_size=4,
            learning_rate=2e-3,
            title_tokens=24,
            beam=1,
        ),
        # alpha is the largest of the paper's grid: 0.02 hardly moves an item's neighbours, not in
        # 2,000 epochs either.
        "tokenizer": dict(hidden=(256, 128), batch_size=512, epochs=100, alpha=0.1),
        "tiger": dict(
            d_model=128,
            d_ff=256,
            n_heads=4,
            d_head=32,
            n_layers=1,
            dropout=0.0,
            history=4,
            epochs=8,
            examples=18_000,
            targets=3,
            batch_size=64,
            learning_rate=0.03,
            relative_rate=True,
            warmup=0.05,
            validate_every=4,
        ),
        # A high rate, small batches and lists that teach all they can: what an hour on one core is
        # short of is steps.
        "lcrec": dict(
            targets=20,
            dropout=0.0,
            epochs=6,
            lists=500,
            alignment=0.05,
            batch_size=4,
            learning_rate=2e-3,
            warmup=0.05,
        ),
    },
    "paper": {
        "text_tokens": 2048,  # as in the released code; MiniLM reads 512 of them
        "sasrec_32": dict(dimensions=32, n_heads=1, epochs=200, patience=10),
        "mf": dict(epochs=200),
        "caser": dict(epochs=200, patience=10),
        "hgn": dict(epochs=200, patience=10),
        "bert4rec": {},
        "lightgcn": dict(epochs=500, patience=20),
        "sasrec": dict(dimensions=50, n_heads=1, loss="bce", epochs=200, dropout=0.5, patience=20),
        "sasrec_tuned": dict(dimensions=128, epochs=200, patience=10),
        "bigrec": dict(language_model="huggyllama/llama-7b", gradient_checkpointing=True),
        "tokenizer": {},
        "tiger": {},
        "lcrec": dict(language_model="huggyllama/llama-7b", gradient_checkpointing=True),
        "language_model_cases": 1_000_000,
    },
}

TUNED = {
    "beauty": {
        "sasrec": dict(
            dimensions=50, n_heads=1, loss="bce", epochs=40, dropout=0.5, learning_rate=1e-3
        ),
        "sasrec_tuned": dict(dimensions=128, dropout=0.5, epochs=12, learning_rate=1e-3),
        "lightgcn": dict(epochs=10),
    }
}
"""Where a data set's own tuning (on validation) replaces the laptop profile's: the catalogue is
larger and sparser.
"""
