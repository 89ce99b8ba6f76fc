"""The options that every command of a pipeline takes: which data, which sizes, which seed, where.

torch is imported when a command runs, so that `--help` need not wait for it.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from letterlib.errors import LetterError
from letterlib.store import expanded, read_json


def at_home(value: Any) -> Any:
    """For every option that is a path, or several: with the home folder for a ~ that the shell has
    left.
    """
    return (
        [expanded(one) for one in value] if isinstance(value, list) else value and expanded(value)
    )


RUN_OPTIONS = {
    "dataset": (
        str,
        "movielens",
        typer.Option(
            "--dataset",
            help=(
                "movielens and complete-journey come with the installation; amazon-<year>-<category> and yelp are made "
                "from raw files (letterlib data fetch); any other name is a released folder (<Name>.inter.json, "
                "<Name>.item.json), looked for in --data-dir, or one that letterlib data import has made"
            ),
        ),
    ),
    "data_dir": (
        Path | None,
        None,
        typer.Option(
            "--data-dir",
            help="folder of released or raw files; data/<dataset> if not given",
            callback=at_home,
        ),
    ),
    "profile": (
        str,
        "laptop",
        typer.Option(
            "--profile",
            help=(
                "smoke (seconds, proves that it runs), laptop (minutes on two cores), paper (the paper's sizes)"
            ),
        ),
    ),
    "seed": (
        int,
        0,
        typer.Option(
            "--seed",
            help="decides what is random in training; on a CPU the same seed gives the same result",
        ),
    ),
    "device": (
        str,
        "auto",
        typer.Option(
            "--device", help="auto, cpu, cuda or cuda:NUMBER; auto takes a GPU where there is one"
        ),
    ),
    "encoder": (
        str,
        "minilm",
        typer.Option(
            "--encoder", help="minilm (installed), or any Hugging Face model id or folder"
        ),
    ),
    "cache_dir": (
        Path,
        Path("runs"),
        typer.Option(
            "--cache-dir", help="where finished stages and reports are kept", callback=at_home
        ),
    ),
    "track": (
        str | None,
        None,
        typer.Option(
            "--track",
            help="tensorboard or wandb: learning curves, to <cache-dir>/tracking while it trains",
        ),
    ),
    "set": (
        list[str],
        [],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="a setting, as in tiger.epochs=3; letterlib settings lists all; repeatable",
        ),
    ),
}


def with_run_options(function: Callable) -> Callable:
    """Make of `function(pipeline, ...)` a command that takes RUN_OPTIONS beside its own parameters.

    One that has a parameter `overrides` gets what was said with --set.
    """
    given = inspect.signature(function).parameters
    own = [p for name, p in given.items() if name not in ("pipeline", "overrides")]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, option],
        )
        for name, (kind, default, option) in RUN_OPTIONS.items()
    ]

    @wraps(function)
    def command(**values: Any) -> None:
        options = {name: values.pop(name) for name in RUN_OPTIONS}
        if "context" in values and (below := values["context"].invoked_subcommand):
            refuse_unread(options, below)
            return  # `letterlib data fetch` comes through `letterlib data`
        pipeline = make_pipeline(**options)
        if isinstance(name := values.get("system", values.get("arm")), str):
            from letterlib.pipeline.config import TOKENIZER_ARMS

            if (
                "arm" not in values or name in TOKENIZER_ARMS
            ):  # another arm the command itself says best
                note_unread(pipeline, options["set"], [name])
        if "overrides" in given:
            values["overrides"] = options["set"]
        function(pipeline, **values)

    command.__signature__ = inspect.Signature(own + shared)
    command.__annotations__ = {p.name: p.annotation for p in own + shared}
    return command


def refuse_unread(options: dict[str, Any], below: str) -> None:
    """BadParameter for what stands before `fetch` or `import` in `letterlib data` and says nothing
    to them.
    """
    for name, (_, default, _) in RUN_OPTIONS.items():
        if name != "data_dir" and options[name] != default:
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"letterlib data {below} has no option {option}; leave it out")


def note_unread(pipeline: Any, overrides: list[str], names: list[str]) -> None:
    """Say which of what was said with --set or --encoder changes nothing of any of these systems,
    or tokenizers.
    """
    from letterlib.pipeline.systems import unread
    from letterlib.text import MINILM

    said = [(f"--set {one}", one) for one in overrides]
    if (encoder := pipeline.config.encoder) != MINILM and f"encoder={encoder}" not in overrides:
        said.append((f"--encoder {encoder}", f"encoder={encoder}"))
    whom = ", ".join(names) if len(names) < 4 else f"any of the {len(names)} systems"
    nothing = unread([setting for _, setting in said], *names)
    for written in [written for written, setting in said if setting in nothing]:
        pipeline.cache.say(f"note: {written} changes nothing for {whom}")


def make_pipeline(
    *, data_dir: Path | None, cache_dir: Path, set: list[str], track: str | None, **options: Any
):
    """The pipeline that RUN_OPTIONS describe."""
    from letterlib.pipeline.cache import Cache
    from letterlib.pipeline.config import TOKENIZER_ARMS, default_data_dir, make_config
    from letterlib.pipeline.pipeline import Pipeline

    config = make_config(overrides=set, **options)
    for weight in (
        "alpha",
        "beta",
    ):  # a table would show a tokenizer without it under the name of one with it
        if getattr(config.tokenizer, weight) == 0:
            arms = " or ".join(
                name for name, changes in TOKENIZER_ARMS.items() if weight in changes
            )
            raise LetterError(
                f"tokenizer.{weight}=0: that is another tokenizer; choose {arms} by name"
            )
    return Pipeline(
        config,
        data_dir=data_dir or default_data_dir(config.dataset),
        cache=Cache(cache_dir, track=track),
    )


def keep_results(about: Path, profile: str, seeds: int) -> None:
    """LetterError where `about` tells of a folder with another profile's results, or with those of
    more seeds.

    A script of experiments/ that writes its results whenever a seed is whole would replace them.
    """
    if not about.exists():
        return
    held = read_json(about)
    known = isinstance(held, dict) and type(held.get("seeds")) is int
    if not known or held.get("profile") != profile or held["seeds"] > seeds:
        there = (
            f"{held['seeds']} seed(s) of profile {held.get('profile')}"
            if known
            else "something else"
        )
        raise LetterError(
            f"{about.parent}: holds {there}, which {seeds} of {profile} would replace; name another folder with --out"
        )


def run_script(main: Callable[..., None]) -> None:
    """Run a script of experiments/ as a command; a mistake that a user can mend is one line."""

    @wraps(main)
    def script(**values: Any) -> None:
        main(
            **{
                name: at_home(value) if isinstance(value, Path) else value
                for name, value in values.items()
            }
        )

    try:
        typer.run(script)
    except (LetterError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
