"""The whole of LETTER-TIGER as cached stages, from interactions and text to evaluated rankings.

Each method finds or makes one thing and everything it needs, so any can be called first:

    pipeline = Pipeline(make_config("movielens", "laptop"))
    identifiers = pipeline.tokenizer("letter").identifiers()
    evaluation = pipeline.evaluation("letter-tiger")
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from letterlib.baselines.sasrec import SASRec
from letterlib.data import identifiers_file, load_dataset
from letterlib.data.dataset import Cases, Dataset, Split
from letterlib.errors import LetterError, Unavailable
from letterlib.evaluation.case_kinds import case_kinds
from letterlib.evaluation.evaluate import Evaluation, evaluate
from letterlib.evaluation.ranking import Ranking, Recommender
from letterlib.generators.language_model import SMOLLM2, TINY, check_language_model
from letterlib.hub import revision_of
from letterlib.pipeline.cache import Cache, Stage
from letterlib.pipeline.config import (
    RANKED,
    VARIANTS,
    RunConfig,
    check_tokenizer,
    tokenizer_class,
    variant_config,
)
from letterlib.pipeline.systems import OTHER_IDENTIFIERS, base_of, find_system, settings_read
from letterlib.store import content_of_folder, digest, expanded, read_json, sha256_of, write_json
from letterlib.text import (
    MINILM,
    ItemEmbeddings,
    distinct,
    embed_texts,
    read_item_vectors,
    warnings_of,
)
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer
from letterlib.train import TrainingLog, resolve_device, resolve_dtype

EXACT_CASES = 30
"""Cases on which beams are compared with exact scoring, which takes a hundred times as long."""


class Pipeline:
    """The stages of one configuration. Nothing runs before it is asked for.

    data_dir: folder of the data set's files; packaged data need none.
    cache: where finished stages are kept; "runs" if not given.
    quiet: print no line for every stage.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        data_dir: str | Path | None = None,
        cache: Cache | str | Path | None = None,
        quiet: bool = False,
    ):
        self.config, self.data_dir = config, data_dir and expanded(data_dir)
        if not isinstance(cache, Cache):
            cache = Cache(cache or "runs", say=(lambda line: None) if quiet else print)
        self.cache = cache
        self.device = str(resolve_device(config.device))
        # Each stage once; the memory ends with the pipeline.
        stages = ("_semantic", "_sasrec_32", "_tokenizer", "_identifiers", "_model", "_evaluated")
        for name in stages:
            setattr(self, name, functools.cache(getattr(self, name)))

    @cached_property
    def dataset(self) -> Dataset:
        kept = self.cache.folder / "data"
        return load_dataset(self.config.dataset, self.data_dir, kept, self.config.repeats)

    @cached_property
    def split(self) -> Split:
        return self.dataset.split(self.config.held_out)

    def with_seed(self, seed: int) -> "Pipeline":
        """The same run with another seed, in the same cache."""
        config = RunConfig.model_validate(self.config.model_dump() | {"seed": seed})
        return Pipeline(config, data_dir=self.data_dir, cache=self.cache)

    def _stage(
        self,
        name: str,
        version: int,
        options: BaseModel | dict[str, Any],
        inputs: Sequence[str | Stage],
        work: Callable[[Path, Path], dict[str, Any]],
        seed: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Stage:
        """inputs: other stages, and hashes of what else the work reads.

        work: fills a folder, keeps checkpoints in another, and returns metrics.
        seed: the run's, if not given.
        """
        config = options if isinstance(options, dict) else options.model_dump(mode="json")
        if config.get("dtype") == "auto":  # machines that share a cache may differ in it
            config = config | {"dtype": str(resolve_dtype("auto", resolve_device(self.device)))}
        return Stage(
            self.cache,
            name,
            version,
            work,
            config=config | {"device": self.device.split(":")[0]},
            inputs=inputs,
            seed=self.config.seed if seed is None else seed,
            device=self.device,
            check=check,
        )

    @property
    def _split_key(self) -> str:
        return f"{self.dataset.fingerprint}/{self.config.held_out}"

    @cached_property
    def case_kinds(self) -> np.ndarray:
        """The kind of every test case; see `letterlib.evaluation.case_kinds`."""
        return case_kinds(self.split, self.split.cases("test"))

    # Embeddings: what an item means, and who likes it

    def _semantic(self) -> Stage:
        if file := self.config.item_vectors:
            return self._given_vectors(expanded(file))

        def work(out: Path, partial: Path) -> dict[str, Any]:
            config, texts = self.config, self.dataset.texts()
            vectors = embed_texts(
                texts, config.encoder, max_tokens=config.text_tokens, device=config.device
            )
            embeddings = ItemEmbeddings(vectors, config.encoder, self.dataset.fingerprint)
            embeddings.save(out / "semantic.safetensors")
            found = {"items": len(vectors), "dimensions": vectors.shape[1]}
            return found | {"revision": revision_of(config.encoder)} | distinct(texts, vectors)

        inputs = [self.dataset.fingerprint, *content_of_folder(self.config.encoder, MINILM)]
        options = {
            "encoder": self.config.encoder,
            "text_tokens": self.config.text_tokens,
            "dtype": "auto",
        }
        return self._stage("semantic", 2, options, inputs, work, seed=0)  # the same for all seeds

    def _given_vectors(self, file: Path) -> Stage:
        def work(out: Path, partial: Path) -> dict[str, Any]:
            found = read_item_vectors(file, self.dataset.n_items)
            found.save(out / "semantic.safetensors")
            return {"items": len(found.vectors), "dimensions": found.vectors.shape[1]}

        inputs = [self.dataset.fingerprint, sha256_of(file)]
        return self._stage("semantic-given", 1, {}, inputs, work, seed=0)

    def semantic(self) -> ItemEmbeddings:
        """The text encoder's vectors, or those of the setting item_vectors: [n_items, d_text]."""
        stage = self._semantic()
        for line in warnings_of(stage.metrics, self.config.encoder):
            self.cache.say(line)
        return ItemEmbeddings.load(stage.path("semantic.safetensors"))

    def _sasrec_32(self) -> Stage:
        return self._trained("sasrec-32", SASRec, self.config.sasrec_32)

    def sasrec_32(self) -> SASRec:
        """The small SASRec whose item vectors L_CF aligns the tokenizer with."""
        return SASRec.load(self._sasrec_32().path("model.safetensors"), device=self.config.device)

    def collaborative(self) -> ItemEmbeddings:
        """Its item vectors, [n_items, 32]."""
        return ItemEmbeddings(self.sasrec_32().item_vectors(), "sasrec-32", self._sasrec_32().key)

    # Tokenizers and identifiers

    def _tokenizer(self, variant: str) -> Stage:
        config, kind = variant_config(self.config, variant), tokenizer_class(variant)
        needs_cf = config.alpha > 0
        inputs = [self._semantic()] + ([self._sasrec_32()] if needs_cf else [])

        def work(out: Path, partial: Path) -> dict[str, Any]:
            tokenizer = kind(
                config, self.config.seed, self.config.device, partial / "tokenizer.safetensors"
            )
            collaborative = self.collaborative().vectors if needs_cf else None
            tokenizer.fit(self.semantic().vectors, collaborative)
            tokenizer.save(out / "tokenizer.safetensors")
            tokenizer.identifiers().save(out / f"{self.dataset.name}.index.json")
            return asdict(tokenizer.report)

        def check() -> None:
            check_tokenizer(config, self.split.n_items)

        options = config.model_dump(mode="json")
        if kind is not LetterTokenizer:
            options |= {"class": f"{kind.__qualname__} {kind.version}"}
        return self._stage(f"tokenizer-{variant}", 3, options, inputs, work, check=check)

    def tokenizer(self, variant: str = "letter") -> LetterTokenizer:
        """A trained tokenizer: "letter", with regularizers off ("cf", "div", "plain"), or a
        registered one.
        """
        path = self._tokenizer(variant).path("tokenizer.safetensors")
        return tokenizer_class(variant).load(path, device=self.config.device)

    def _identifiers(self, name: str) -> Stage:
        if name in VARIANTS:
            return self._tokenizer(name)
        source = OTHER_IDENTIFIERS[name]
        inputs = [self._split_key] + ([self._semantic()] if source.embeds else [])
        if name == "released":
            if file := identifiers_file(self.config.dataset, self.data_dir):
                inputs.append(sha256_of(file))

        def work(out: Path, partial: Path) -> dict[str, Any]:
            identifiers = source.make(self)
            identifiers.save(out / "identifiers.index.json")
            return {
                "level sizes": list(identifiers.level_sizes),
                "shared vocabulary": identifiers.shared_vocabulary,
                "sharing an identifier": identifiers.n_colliding,
            }

        sizes = {"n_levels", "n_codes"} if source.sized else set()
        options = self.config.tokenizer.model_dump(include=sizes)
        return self._stage(f"identifiers-{name}", 1, options, inputs, work)

    def identifiers(self, name: str) -> Identifiers:
        """Identifiers of a tokenizer variant, or one of `systems.OTHER_IDENTIFIERS`."""
        if name in VARIANTS:
            return self.tokenizer(name).identifiers()
        stage = self._identifiers(name)
        sizes = tuple(stage.metrics["level sizes"])
        found = Identifiers.load(stage.path("identifiers.index.json"), level_sizes=sizes)
        return replace(found, shared_vocabulary=stage.metrics["shared vocabulary"])

    # Recommenders

    def _trained(
        self,
        name: str,
        kind: type,
        config: BaseModel,
        inputs: Sequence[str | Stage] = (),
        given: Callable[[], list[Any]] = list,
        check: Callable[[], None] = lambda: None,
    ) -> Stage:
        """given: makes the arguments that the class takes before its configuration."""

        def work(out: Path, partial: Path) -> dict[str, Any]:
            model = kind(
                *given(),
                config,
                self.config.seed,
                self.config.device,
                partial / "checkpoint.safetensors",
            ).fit(self.split)
            model.save(out / "model.safetensors")
            log = {"losses": model.log.losses, "validations": model.log.validations}
            if hasattr(config, "language_model"):
                log["revision"] = revision_of(config.language_model)
            return {"parameters": model.n_parameters, "epochs": len(model.log.losses)} | log

        return self._stage(name, 2, config, [self._split_key, *inputs], work, check=check)

    def _model(self, name: str) -> Stage | None:
        """The trained model of a system; None of one that only counts."""
        if (system := find_system(name)).config is None:
            return None
        if system.counts:
            return self._counted(name)
        config, inputs = getattr(self.config, system.config), []
        if system.identifiers is not None:
            inputs.append(self._identifiers(system.identifiers))
        if getattr(config, "intentions", None):  # a file that names users by their labels
            inputs += [sha256_of(config.intentions), digest(list(self.dataset.user_labels))]
        inputs += content_of_folder(getattr(config, "language_model", ""), SMOLLM2, TINY)

        def given() -> list[Any]:
            first = [self.identifiers(system.identifiers)] if system.identifiers else []
            if system.titles:
                first.append(self.dataset.titles() if "title" in self.dataset.items else None)
            return first

        def check() -> None:
            if system.language_model:
                check_language_model(config.language_model)

        return self._trained(name, system.kind, config, inputs, given, check)

    def _counted(self, name: str) -> Stage:
        base = base_of(name)

        def work(out: Path, partial: Path) -> dict[str, Any]:
            model = find_system(name).kind.of(self.system(base)).count(self.split)
            model.save(out / "model.safetensors")
            tried = [list(pair) for pair in model.weights.items()]
            found = {"weight": model.weight, "weights": tried, "counts": model.counts.settings}
            best = [[model.log.best_epoch, max(model.weights.values(), default=0.0)]]
            return self._model(base).metrics | found | {"validations": best}

        return self._stage(name, 1, {}, [self._split_key, self._model(base)], work)

    def system(self, name: str) -> Recommender:
        """A recommender, trained and ready to answer."""
        model, kind = self._model(name), find_system(name).kind
        if model is None:
            return kind().fit(self.split)
        return kind.load(model.path("model.safetensors"), device=self.config.device)

    def key(self, name: str) -> str:
        """A hash of what a system's lists depend on: data, settings and seed."""
        return self._evaluated(name).key

    def log(self, name: str) -> TrainingLog:
        """The learning curve of a trained system."""
        return TrainingLog.from_json(self._model(name).metrics)

    def parameters(self, name: str) -> int:
        """Weights of a trained system; 0 of one that only counts."""
        model = self._model(name)
        return model.metrics["parameters"] if model else 0

    def stages(self, name: str) -> list[Stage]:
        """The stages that a system's evaluation was made from, and the evaluation itself."""
        evaluated = self._evaluated(name)
        _ = evaluated.record  # made now, if it is not there
        return [stage for stage in evaluated.with_needs().values() if stage.folder.exists()]

    # Evaluation

    def test_cases(self, name: str) -> Cases:
        """The test cases of a system: all, or for a language model a sample that is the same for
        every seed.
        """
        cases = self.split.cases("test")
        if not len(cases):
            least = 2 * self.config.held_out + 1
            raise LetterError(f"{self.dataset.name}: no user has {least} items (see held_out)")
        if find_system(name).language_model:
            return cases.sample(self.config.language_model_cases, seed=0)
        return cases

    def _evaluated(self, name: str) -> Stage:
        model, system = self._model(name), find_system(name)
        inputs = [self._split_key] + ([model] if model else [])
        # A beam search returns as many items as it has beams.
        beam = getattr(getattr(self.config, system.config or "", None), "beam", RANKED)
        options = {"ranked": min(RANKED, beam) if system.identifiers else RANKED}
        if system.language_model:
            options["cases"] = self.config.language_model_cases

        def work(out: Path, partial: Path) -> dict[str, Any]:
            cases, model, metrics = self.test_cases(name), self.system(name), {}
            identifiers = getattr(model, "identifiers", None)
            for history, exclude in (("in", False), ("out", True)):
                ranking = model.recommend(
                    cases.without_targets(), options["ranked"], exclude_history=exclude
                )
                ranking.save(out / f"ranking-{history}.parquet")
                shared = getattr(identifiers, "identifier_of_item", None)
                result = evaluate(ranking, cases, self.split, shared)
                write_json(out / f"evaluation-{history}.json", result.to_json())
                metrics[f"history {history}"] = result.metrics()
            return metrics

        seed = None if model else 0  # what only counts gives the same lists for all seeds
        return self._stage(
            f"evaluation-{name}",
            2,
            options,
            inputs,
            work,
            seed=seed,
            check=lambda: self.test_cases(name),
        )

    def evaluation(self, name: str, *, history: str = "in") -> Evaluation:
        """The test result, with the history left "in" (as in the paper) or filtered "out"."""
        path = self._evaluated(name).path(f"evaluation-{history}.json")
        return Evaluation.from_json(read_json(path))

    def ranking(self, name: str, *, history: str = "in") -> Ranking:
        """The ranked lists behind `evaluation`."""
        return Ranking.load(self._evaluated(name).path(f"ranking-{history}.parquet"))

    def decoding(self, name: str) -> dict[str, float]:
        """Two shares on a sample of cases.

        "top 10": of the ten best items by exact scoring, how many the beams find.
        "valid without the trie": of the ten best sequences of any tokens, how many are identifiers.
        """

        def work(out: Path, partial: Path) -> dict[str, Any]:
            system = self.system(name)
            cases = self.split.cases("test").sample(EXACT_CASES, seed=0).without_targets()
            beams = system.recommend(cases, 10).items
            exact = system.recommend(cases, 10, beam=self.dataset.n_items).items
            found = (beams[:, :, None] == exact[:, None, :]).any(axis=1).mean()
            free = system.recommend_unconstrained(cases, 10).valid.mean()
            return {"top 10": float(found), "valid without the trie": float(free)}

        inputs = [self._model(name)]
        return self._stage(f"decoding-{name}", 1, {"cases": EXACT_CASES}, inputs, work).metrics

    # Preflight: fail now rather than hours into a run

    def check_systems(self, names: Iterable[str]) -> None:
        """Raise LetterError for what would stop these systems when their turn comes.

        Text embeddings are made if they are needed, which shows whether the encoder is at hand.
        """
        for name in (names := list(names)):
            for stage in self._evaluated(name).with_needs().values():
                if not stage.folder.exists():
                    stage.check()
        if any("encoder" in settings_read(name) for name in names):
            with suppress(Unavailable):  # reported with each system that needs it
                self.semantic()
