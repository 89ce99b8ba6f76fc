"""The whole of LETTER-TIGER as cached stages, from interactions and text to evaluated rankings.

Each method finds or makes one artefact and everything it needs, so any of them can be called first:

    pipeline = Pipeline(make_config("movielens", "laptop"))
    identifiers = pipeline.tokenizer("letter").identifiers()
    evaluation = pipeline.evaluation("letter-tiger")
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from letterlib.baselines.sasrec import SASRec
from letterlib.data import identifiers_file, load_dataset
from letterlib.data.dataset import Cases, Dataset, Split
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import Evaluation, evaluate
from letterlib.evaluation.ranking import Ranking, Recommender
from letterlib.generators.language_model import SMOLLM2, TINY
from letterlib.hub import revision_of
from letterlib.pipeline.cache import Artefact, Cache
from letterlib.pipeline.config import (
    RANKED,
    TOKENIZER_ARMS,
    RunConfig,
    check_tokenizer,
    tokenizer_of_arm,
)
from letterlib.pipeline.identifier_schemes import SCHEMES
from letterlib.pipeline.readiness import check_language_models
from letterlib.pipeline.systems import find_system
from letterlib.store import content_of_folder, digest, expanded, read_json, sha256_of, write_json
from letterlib.text import MINILM, ItemEmbeddings, distinct, embed_texts, warnings_of
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer
from letterlib.train import TrainingLog, resolve_device, resolve_dtype

EXACT_CASES = (
    30  # on which beams are compared with exact scoring, which takes a hundred times as long
)


class Pipeline:
    """One configuration's stages. Nothing runs before it is asked for."""

    def __init__(
        self, config: RunConfig, *, data_dir: Path | None = None, cache: Cache | None = None
    ):
        self.config, self.data_dir = config, data_dir and expanded(data_dir)
        self.cache = cache or Cache("runs")
        self.device = str(resolve_device(config.device))
        for name in (
            "_semantic",
            "_sasrec_32",
            "_tokenizer",
            "_identifiers",
            "_model",
            "_evaluated",
        ):
            setattr(
                self, name, functools.cache(getattr(self, name))
            )  # caches that end with the pipeline

    @cached_property
    def dataset(self) -> Dataset:
        return load_dataset(self.config.dataset, self.data_dir, self.cache.folder / "data")

    @cached_property
    def split(self) -> Split:
        return self.dataset.split(self.config.held_out)

    def _stage(
        self,
        name: str,
        version: int,
        options: BaseModel | dict,
        inputs: list[str],
        work: Callable,
        seed=None,
    ):
        config = options if isinstance(options, dict) else options.model_dump(mode="json")
        if (
            config.get("dtype") == "auto"
        ):  # what it stands for here; machines that share a cache may differ in it
            config = config | {"dtype": str(resolve_dtype("auto", resolve_device(self.device)))}
        where = {
            "config": config | {"device": self.device.split(":")[0]},
            "inputs": inputs,
            "device": self.device,
        }
        return self.cache.stage(
            name, version, work, **where, seed=self.config.seed if seed is None else seed
        )

    @property
    def _split_key(self) -> str:
        return f"{self.dataset.fingerprint}/{self.config.held_out}"

    # Embeddings: what an item means, and who likes it

    def _semantic(self) -> Artefact:
        def work(out: Path, partial: Path) -> dict[str, Any]:
            config, texts = self.config, self.dataset.texts()
            vectors = embed_texts(
                texts, config.encoder, max_tokens=config.text_tokens, device=config.device
            )
            ItemEmbeddings(vectors, config.encoder, self.dataset.fingerprint).save(
                out / "semantic.safetensors"
            )
            found = {
                "items": len(vectors),
                "dimensions": vectors.shape[1],
                "revision": revision_of(config.encoder),
            }
            return found | distinct(texts, vectors)

        inputs = [self.dataset.fingerprint, *content_of_folder(self.config.encoder, MINILM)]
        options = {
            "encoder": self.config.encoder,
            "text_tokens": self.config.text_tokens,
            "dtype": "auto",
        }
        made = self._stage("semantic", 2, options, inputs, work, seed=0)  # the same for all seeds
        for line in warnings_of(made.metrics, self.config.encoder):
            self.cache.say(line)
        return made

    def semantic(self) -> ItemEmbeddings:
        """The text encoder's vectors, [n_items, d_text]."""
        return ItemEmbeddings.load(self._semantic().path("semantic.safetensors"))

    def _sasrec_32(self) -> Artefact:
        return self._trained("sasrec-32", SASRec, self.config.sasrec_32)

    def collaborative(self) -> ItemEmbeddings:
        """The 32-d SASRec's item vectors, [n_items, 32], which L_CF aligns the tokenizer with."""
        return ItemEmbeddings(self.sasrec_32().item_vectors(), "sasrec-32", self._sasrec_32().key)

    def sasrec_32(self) -> SASRec:
        """The small SASRec itself, for the ranking experiment."""
        return SASRec.load(self._sasrec_32().path("model.safetensors"), device=self.config.device)

    # Tokenizers

    def _tokenizer(self, arm: str) -> Artefact:
        config = tokenizer_of_arm(self.config.tokenizer, arm)
        check_tokenizer(config, self.split.n_items)
        needs_cf = config.alpha > 0
        inputs = [self._semantic().key] + ([self._sasrec_32().key] if needs_cf else [])

        def work(out: Path, partial: Path) -> dict[str, Any]:
            tokenizer = LetterTokenizer(
                config, self.config.seed, self.config.device, partial / "tokenizer.safetensors"
            )
            tokenizer.fit(
                self.semantic().vectors, self.collaborative().vectors if needs_cf else None
            )
            tokenizer.save(out / "tokenizer.safetensors")
            tokenizer.identifiers().save(out / f"{self.dataset.name}.index.json")
            return asdict(tokenizer.report)

        return self._stage(f"tokenizer-{arm}", 3, config, inputs, work)

    def tokenizer(self, arm: str = "letter") -> LetterTokenizer:
        """A trained tokenizer: "letter", or with one or both regularizers off ("cf", "div",
        "plain").
        """
        return LetterTokenizer.load(
            self._tokenizer(arm).path("tokenizer.safetensors"), device=self.config.device
        )

    def _identifiers(self, scheme: str) -> Artefact:
        if scheme in TOKENIZER_ARMS:
            return self._tokenizer(scheme)
        how = SCHEMES[scheme]
        inputs = [self._split_key] + ([self._semantic().key] if how.embeds else [])
        if scheme == "released" and (file := identifiers_file(self.config.dataset, self.data_dir)):
            inputs.append(sha256_of(file))

        def work(out: Path, partial: Path) -> dict[str, Any]:
            identifiers = how.make(self)
            identifiers.save(out / "identifiers.index.json")
            return {
                "level sizes": list(identifiers.level_sizes),
                "shared vocabulary": identifiers.shared_vocabulary,
                "sharing an identifier": identifiers.n_colliding,
            }

        sizes = (
            self.config.tokenizer.model_dump(include={"n_levels", "n_codes"}) if how.sized else {}
        )
        return self._stage(f"identifiers-{scheme}", 1, sizes, inputs, work)

    def identifiers(self, scheme: str) -> Identifiers:
        """What items are called: by a tokenizer ("letter", "plain", ...) or a scheme of
        `identifier_schemes`.
        """
        if scheme in TOKENIZER_ARMS:
            return self.tokenizer(scheme).identifiers()
        made = self._identifiers(scheme)
        written = Identifiers.load(
            made.path("identifiers.index.json"), level_sizes=tuple(made.metrics["level sizes"])
        )
        return replace(written, shared_vocabulary=made.metrics["shared vocabulary"])

    # Recommenders

    def _trained(
        self, name: str, kind: type, config: BaseModel, inputs: Sequence[str] = (), *first: Any
    ) -> Artefact:
        def work(out: Path, partial: Path) -> dict[str, Any]:
            checkpoint = partial / "checkpoint.safetensors"
            model = kind(*first, config, self.config.seed, self.config.device, checkpoint).fit(
                self.split
            )
            model.save(out / "model.safetensors")
            log = {"losses": model.log.losses, "validations": model.log.validations}
            log |= (
                {"revision": revision_of(config.language_model)}
                if hasattr(config, "language_model")
                else {}
            )
            return {"parameters": model.n_parameters, "epochs": len(model.log.losses)} | log

        return self._stage(name, 2, config, [self._split_key, *inputs], work)

    def _model(self, name: str) -> Artefact | None:
        """The trained model behind a system; None for those that only count."""
        if (system := find_system(name)).config is None:
            return None
        check_language_models(
            [name], self.config, self.cache.folder
        )  # before minutes of tokenizers
        config = getattr(self.config, system.config)
        files = [sha256_of(config.intentions)] if getattr(config, "intentions", None) else []
        files += (
            [digest(list(self.dataset.user_labels))] if files else []
        )  # by which the file names users
        files += content_of_folder(getattr(config, "language_model", ""), SMOLLM2, TINY)
        first, inputs = [], []
        if system.identifiers is not None:
            first, inputs = (
                [self.identifiers(system.identifiers)],
                [self._identifiers(system.identifiers).key],
            )
        if system.titles:
            first.append(self.dataset.titles() if "title" in self.dataset.items else None)
        return self._trained(name, system.kind, config, inputs + files, *first)

    def system(self, name: str) -> Recommender:
        """A recommender, trained and ready to answer."""
        artefact, kind = self._model(name), find_system(name).kind
        if artefact is None:
            return kind().fit(self.split)
        return kind.load(artefact.path("model.safetensors"), device=self.config.device)

    # Evaluation

    def _evaluated(self, name: str) -> Artefact:
        cases, model, samples = (
            self.test_cases(name),
            self._model(name),
            find_system(name).language_model,
        )
        inputs = [self._split_key] + ([model.key] if model else [])
        options = {"ranked": RANKED} | (
            {"cases": self.config.language_model_cases} if samples else {}
        )

        def work(out: Path, partial: Path) -> dict[str, Any]:
            system = self.system(name)
            identifier_of_item = getattr(
                getattr(system, "identifiers", None), "identifier_of_item", None
            )
            metrics = {}
            for history, exclude in (("in", False), ("out", True)):
                ranking = system.recommend(cases.without_targets(), RANKED, exclude_history=exclude)
                ranking.save(out / f"ranking-{history}.parquet")
                result = evaluate(ranking, cases, self.split, identifier_of_item)
                write_json(out / f"evaluation-{history}.json", result.to_json())
                metrics[f"history {history}"] = result.metrics()
            return metrics

        seed = None if model else 0  # what only counts gives the same lists for all seeds
        return self._stage(f"evaluation-{name}", 2, options, inputs, work, seed=seed)

    def test_cases(self, name: str) -> Cases:
        """The test cases of a system: all of them, or for a language model a sample, the same for
        every seed.
        """
        cases = self.split.cases("test")
        if not len(cases):
            raise LetterError(
                f"{self.dataset.name}: no user has {2 * self.config.held_out + 1} items (see held_out)"
            )
        return (
            cases.sample(self.config.language_model_cases, seed=0)
            if find_system(name).language_model
            else cases
        )

    def evaluation(self, name: str, *, history: str = "in") -> Evaluation:
        """The test result of a system, with the history left "in" (the paper's figure) or filtered
        "out".
        """
        return Evaluation.from_json(
            read_json(self._evaluated(name).path(f"evaluation-{history}.json"))
        )

    def decoding(self, name: str) -> dict[str, float]:
        """Shares on a sample of cases: how many of the ten best items by exact scoring the beams
        find ("top 10"), and how many of the ten best sequences of any tokens are identifiers
        ("valid without the trie").
        """

        def work(out: Path, partial: Path) -> dict[str, Any]:
            system = self.system(name)
            cases = self.split.cases("test").sample(EXACT_CASES, seed=0).without_targets()
            beams = system.recommend(cases, 10).items
            exact = system.recommend(cases, 10, beam=self.dataset.n_items).items
            found = (beams[:, :, None] == exact[:, None, :]).any(axis=1).mean()
            free = system.recommend_unconstrained(cases, 10).valid.mean()
            return {"top 10": float(found), "valid without the trie": float(free)}

        return self._stage(
            f"decoding-{name}", 1, {"cases": EXACT_CASES}, [self._model(name).key], work
        ).metrics

    def log(self, name: str) -> TrainingLog:
        """The learning curve of a trained system."""
        return TrainingLog.from_json(self._model(name).metrics)

    def with_seed(self, seed: int) -> "Pipeline":
        """The same run with another seed, in the same cache."""
        config = RunConfig.model_validate(
            self.config.model_dump() | {"seed": seed}
        )  # a seed of NumPy's becomes an int
        return Pipeline(config, data_dir=self.data_dir, cache=self.cache)

    def parameters(self, name: str) -> int:
        """Weights of a trained system; 0 of one that only counts."""
        model = self._model(name)
        return model.metrics["parameters"] if model else 0

    def trained_seconds(self, name: str) -> float:
        """Wall time of training a system, when that was really done."""
        model = self._model(name)
        return model.seconds if model else 0.0

    def seconds(self, name: str) -> float:
        """Wall time of training and evaluating a system, when that was really done."""
        return self._evaluated(name).seconds + self.trained_seconds(name)

    def ranking(self, name: str, *, history: str = "in") -> Ranking:
        """The ranked lists behind `evaluation`."""
        return Ranking.load(self._evaluated(name).path(f"ranking-{history}.parquet"))
