"""Data with a known law of the next item: do the systems reach the best possible figures, and does
LETTER gain what it must?

    python experiments/simulated_truth.py --out experiments/results/simulated-truth.json

The law. Items are in 12 groups of 8. After an item of group g comes one of group g + 1 with
probability .5, of group g + 5 with .2, else of a group drawn by popularity; within the group all
items are equally likely. Only the last item matters:

    T[i, j] = P(next = j | last = i) = P[g(i), g(j)] / 8,  and pi = pi T is each item's share.

The best possible. Given the last item i, a list of K items holds the next one with the probability
sum of T[i, j] over the list. No list has more than the K largest of T[i], in their order also for
NDCG. One list for everybody has at most the K largest of pi; a random one K / 96. `Law.figures`
gives a system's lists their expectation instead of drawing targets: nothing can exceed the best.

What counts are worth. The Markov floor scores T + T^2 / 2 when it has counted enough, and a
generator that learns the next three items T + T^2 + T^3: their limits are the figures of these
scores' lists.

One code an item. A generator that reads the code c of the last item and writes one code can know

    q(d | c) = sum over i in c, j in d of pi_i T[i, j] / sum over i in c of pi_i

and no more. It lists the items of the likeliest codes, those of one code in random order: of the m
items of code d, the first n places hold n / m. `Law.code_limit` is this list's expectation.

LETTER's gain. The text either says the group (a centre per group, and noise) or nothing (noise
alone). If it says the group, the first codes of plain identifiers can have the limit of the law
itself, which none exceeds: the collaborative loss can add nothing. If it says nothing, plain codes
agree with groups by chance alone, and collaborative vectors, learnt from the sequences, know them:
the gain is the difference of the two limits. Vectors dealt to the wrong items (the placebo) gain
nothing.
"""

import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from sklearn.cluster import KMeans

from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.popularity import Popularity
from letterlib.baselines.sasrec import SASRec
from letterlib.cli import run_script
from letterlib.data.dataset import Cases, Dataset, Sequences, Split
from letterlib.evaluation.evaluate import evaluate
from letterlib.generators.tiger import Tiger
from letterlib.pipeline.config import make_config
from letterlib.store import write_json
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer

GROUPS, SIZE = 12, 8
K = 10
SEEDS, GAIN_SEEDS = range(3), range(5)
N_CODES = 16


@dataclass(frozen=True)
class Law:
    """A first-order Markov law of the next item, which depends on the last item's group.

    next_group: float [groups, groups], P(group of the next item | group of the last).
    size: items of a group; item i is in group i // size.
    """

    next_group: np.ndarray
    size: int = SIZE

    @classmethod
    def example(cls, groups: int = GROUPS, size: int = SIZE) -> "Law":
        """The law of the module's docstring."""
        popularity = np.arange(1, groups + 1) ** -0.7
        table = np.tile(0.3 * popularity / popularity.sum(), (groups, 1))
        group = np.arange(groups)
        table[group, (group + 1) % groups] += 0.5
        table[group, (group + 5) % groups] += 0.2
        return cls(table, size)

    @property
    def n_items(self) -> int:
        return len(self.next_group) * self.size

    @cached_property
    def transitions(self) -> np.ndarray:
        """T: float [n_items, n_items], rows with sum 1."""
        return np.kron(self.next_group, np.full((self.size, self.size), 1 / self.size))

    @cached_property
    def shares(self) -> np.ndarray:
        """pi, each item's share of all interactions: float [n_items]."""
        return np.linalg.matrix_power(self.transitions, 1000)[0]

    def dataset(self, n_users: int, length: int, seed: int) -> Dataset:
        """Sequences of this law: every user starts with an item drawn from pi."""
        random, size = np.random.default_rng(seed), self.size
        cumulated = self.next_group.cumsum(axis=1)
        by_group = self.shares.reshape(-1, size).sum(axis=1)
        groups = np.empty((n_users, length), dtype=np.int64)
        groups[:, 0] = random.choice(len(by_group), n_users, p=by_group)
        for place in range(1, length):
            below = cumulated[groups[:, place - 1], :-1] <= random.random((n_users, 1))
            groups[:, place] = below.sum(axis=1)
        items = groups * size + random.integers(size, size=groups.shape)
        offsets = np.arange(n_users + 1) * length
        table = pd.DataFrame(index=pd.RangeIndex(self.n_items))
        users = list(map(str, range(n_users)))
        return Dataset("law", Sequences(items.ravel(), offsets), table, "simulated", users)

    def figures(self, items: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Expected R@10 and N@10 of each list: float [n, 2].

        items: int64 [n, at least 10], best first. last: int64 [n], the history's last item.
        """
        found = self.transitions[last[:, None], items[:, :K]]
        return np.stack([found.sum(axis=1), found @ (1 / np.log2(np.arange(K) + 2))], axis=1)

    def limit(self, scores: np.ndarray) -> np.ndarray:
        """Expected R@10 and N@10 of ranking by scores [n_items, n_items] after each last item.

        `limit(transitions)` is the best possible.
        """
        lists = np.argsort(-scores.round(12), axis=1, kind="stable")[:, :K]
        return self.shares @ self.figures(lists, np.arange(self.n_items))

    def code_limit(self, codes: np.ndarray) -> float:
        """R@10 of a generator that reads the last item's code, and writes a code: q(d | c) above.

        codes: int64 [n_items], the code of every item.
        """
        _, codes = np.unique(codes, return_inverse=True)
        member = np.eye(codes.max() + 1)[codes]  # [n_items, codes]
        to_code, m = self.transitions @ member, member.sum(axis=0)
        known = member.T @ (self.shares[:, None] * to_code)  # q(d | c), but for a factor per c
        total = 0.0
        for c, row in enumerate(known):
            order = np.argsort(-row, kind="stable")
            places = np.clip(K - (m[order].cumsum() - m[order]), 0, m[order])
            reached = to_code[:, order] @ (places / m[order])
            total += (self.shares * member[:, c]) @ reached
        return float(total)

    def text(self, says_group: bool, seed: int, width: int = 64) -> np.ndarray:
        """Text vectors, float32 [n_items, width]: noise, around its group's centre or around 0."""
        random = np.random.default_rng(seed)
        noise = random.normal(size=(self.n_items, width))
        centres = np.repeat(random.normal(size=(len(self.next_group), width)), self.size, axis=0)
        return (centres + 0.5 * noise if says_group else noise).astype(np.float32)


def last_items(cases: Cases) -> np.ndarray:
    """The last item of each history: int64 [n_cases]."""
    return cases.values[cases.ends - 1]


def expected(law: Law, model: Any, split: Split) -> np.ndarray:
    """Expected R@10 and N@10 of a fitted model, over the histories of the test cases."""
    cases = split.cases("test")
    ranking = model.recommend(cases.without_targets(), 20)
    return law.figures(ranking.items, last_items(cases)).mean(axis=0)


def after_one_item(law: Law, model: Any) -> np.ndarray:
    """Expected R@10 and N@10 of a model that reads the last item alone, over all last items."""
    items = np.arange(law.n_items)
    ranking = model.recommend(Cases.from_histories(items[:, None]), K)
    return law.shares @ law.figures(ranking.items, items)


def measured(model: Any, split: Split) -> float:
    """R@10 by the library's evaluation, on the targets that were drawn."""
    cases = split.cases("test")
    return evaluate(model.recommend(cases.without_targets(), 20), cases, split).metrics()["R@10"]


def tokenizer_of(
    text: np.ndarray, collaborative: np.ndarray | None, seed: int, **settings: Any
) -> LetterTokenizer:
    """A small tokenizer without the diversity loss, fitted."""
    return LetterTokenizer(
        n_levels=2,
        n_codes=N_CODES,
        hidden=(128, 64),
        epochs=300,
        batch_size=len(text),
        beta=0.0,
        seed=seed,
        **settings,
    ).fit(text, collaborative)


def reader_of_one_item(identifiers: Identifiers, seed: int) -> Tiger:
    """A small TIGER that reads the last item alone."""
    return Tiger(
        identifiers,
        seed=seed,
        d_model=64,
        d_ff=128,
        n_heads=4,
        d_head=16,
        n_layers=1,
        dropout=0.0,
        history=1,
        epochs=2,
        batch_size=256,
        learning_rate=0.03,
        relative_rate=True,
        warmup=0.05,
        validate_every=2,
        beam=K,
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": dict(alpha=0.0),
    "alpha .1": dict(alpha=0.1),
    "alpha 1": dict(alpha=1.0),
    "placebo": dict(alpha=1.0, placebo=True),
}


def systems(law: Law, split: Split) -> dict[str, Any]:
    """Each system's expected figures next to the best possible: by seed, [R@10, N@10]."""
    laptop = make_config(profile="laptop")
    text = law.text(says_group=True, seed=0)
    found: dict[str, list] = {}
    for seed in SEEDS:
        models = {"SASRec (tuned)": SASRec(laptop.sasrec_tuned, seed=seed)}
        if seed == 0:
            models |= {"popularity": Popularity(), "Markov floor": MarkovFloor()}
        whole = tokenizer_of(text, None, seed, alpha=0.0).identifiers()
        for targets in (1, 3):
            settings = laptop.tiger.model_copy(update={"targets": targets})
            models[f"TIGER, {targets} targets"] = Tiger(whole, settings, seed=seed)
        for name, model in models.items():
            model.fit(split)
            row = [*expected(law, model, split).tolist(), measured(model, split)]
            found.setdefault(name, []).append(row)
            print(seed, name, row, flush=True)
    return found


def gains(law: Law, split: Split) -> list[dict[str, Any]]:
    """One row a text, variant and seed: the limit of the first codes, TIGER's R@10 with them and
    with whole identifiers, and the limit of 16 clusters of the encoder's output z.
    """
    rows = []
    for seed in GAIN_SEEDS:
        sasrec = SASRec(make_config(profile="laptop").sasrec_32, seed=seed).fit(split)
        vectors = sasrec.item_vectors()
        for says_group, (name, settings) in itertools.product((True, False), VARIANTS.items()):
            text = law.text(says_group, seed)
            tokenizer = tokenizer_of(text, vectors, seed, **settings)
            whole = tokenizer.identifiers()
            first = Identifiers(whole.codes[:, :1], (N_CODES,))
            latent = KMeans(N_CODES, n_init=10, random_state=seed).fit_predict(
                tokenizer.latent(text)
            )
            row = {"text says group": says_group, "variant": name, "seed": seed}
            row |= {"limit": law.code_limit(first.codes[:, 0])}
            row |= {"limit of clusters of z": law.code_limit(latent)}
            for column, identifiers in (("first codes", first), ("whole identifiers", whole)):
                tiger = reader_of_one_item(identifiers, seed).fit(split)
                row[column] = float(after_one_item(law, tiger)[0])
            rows.append(row)
            print(row, flush=True)
    return rows


def summed_up(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds of every text and variant."""
    table = pd.DataFrame(rows).drop(columns="seed")
    means = table.groupby(["text says group", "variant"], sort=False).mean().reset_index()
    return json.loads(means.to_json(orient="records", double_precision=15))


def main(
    out: Annotated[Path, typer.Option(help="the JSON file to write")],
    users: Annotated[int, typer.Option(min=100)] = 4000,
) -> None:
    law = Law.example()
    split = law.dataset(users, 12, seed=0).split()
    t = law.transitions
    limits = {
        "best possible": law.limit(t),
        "one list for all": law.limit(np.tile(law.shares, (law.n_items, 1))),
        "Markov floor": law.limit(t + t @ t / 2),
        "TIGER, 3 targets": law.limit(t + t @ t + t @ t @ t),
    }
    cases = split.cases("test")
    best = np.argsort(-t, axis=1, kind="stable")[last_items(cases)]
    record = {
        "users": users,
        "limits": {name: list(figures) for name, figures in limits.items()}
        | {"random": [K / law.n_items]},
        "best for the test histories": list(law.figures(best, last_items(cases)).mean(axis=0)),
        "systems, by seed: R@10, N@10, R@10 on drawn targets": systems(law, split),
    }
    rows = gains(law, split)
    write_json(out, record | {"gains": summed_up(rows), "gains by seed": rows})


if __name__ == "__main__":
    run_script(main)
