"""The public face of the library: what `import letterlib as ll` gives."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import letterlib as ll
from letterlib.errors import LetterError
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.systems import SYSTEMS

README = Path(__file__).resolve().parents[2] / "README.md"


def example(text: str) -> str:
    """The indented lines of a docstring, or a page's first block of Python."""
    if block := re.search(r"```python\n(import letterlib as ll\n.*?)```", text, re.DOTALL):
        return block[1]
    return "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))


@pytest.mark.parametrize("profile", ["smoke", pytest.param("laptop", marks=pytest.mark.slow)])
def test_the_example_runs_as_it_stands(profile, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(example(ll.__doc__).replace('"laptop"', f'"{profile}"'), scope)
    printed = capsys.readouterr().out
    assert re.search(r"3,355 cases of 671 users: R@5 0\.\d{4}", printed)
    titles = scope["films"].titles()
    films = ll.recommend(scope["tiger"], scope["films"], ["toy story (1995)", "Alien (1979)"], k=10)
    assert len(set(films)) == 10 and set(films) <= set(titles) - {"Alien (1979)"}
    assert str(films) in printed
    again = ll.load("tiger.safetensors")
    cases = scope["split"].cases("test").without_targets()[:20]
    expected = scope["tiger"].recommend(cases, 10).items
    assert np.array_equal(again.recommend(cases, 10).items, expected)
    metrics = ll.evaluate(again, scope["split"], exclude_history=True).metrics()
    if profile == "laptop":
        assert metrics["R@10"] > 0.05, "three times popularity"


def test_the_readme_has_the_same_example():
    def statements(code):
        return [line.split("#")[0].strip() for line in code.splitlines() if line.strip()]

    assert statements(example(README.read_text(encoding="utf-8"))) == statements(
        example(ll.__doc__)
    )


def test_every_name_is_there_and_none_is_imported_before_it_is_used():
    for name in ll.__all__:
        assert getattr(ll, name).__doc__
    code = (
        "import sys, time; start = time.perf_counter(); import letterlib; "
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch, pandas = done.stdout.split()
    assert float(seconds) < 0.1 and (torch, pandas) == ("False", "False")


def test_every_trained_model_is_loaded_by_its_file(tmp_path):
    config = ll.make_config(profile="smoke", overrides=["language_model_cases=10"])
    pipeline = ll.Pipeline(config, cache=Cache(tmp_path, say=lambda line: None))
    split = pipeline.split
    plain = ll.Identifiers(np.arange(split.n_items)[:, None] // [100, 1] % 100, (100, 100))
    seen = set()
    for system in SYSTEMS.values():
        if (
            system.config
            and system.kind not in seen
            and system.kind.__name__ not in ("BIGRec", "LCRec")
        ):
            seen.add(system.kind)
            first = [plain] if system.identifiers else []
            model = system.kind(*first, getattr(config, system.config)).fit(split)
            model.save(tmp_path / "model.safetensors")
            assert type(ll.load(tmp_path / "model.safetensors")) is system.kind
    assert len(seen) == 9
    pipeline.semantic().save(tmp_path / "vectors.safetensors")
    for name in ("vectors.safetensors", "nowhere.safetensors"):
        with pytest.raises(LetterError, match=name):
            ll.load(tmp_path / name)


def test_titles_that_fit_no_film_are_an_error_with_those_like_it():
    films = ll.load_dataset("movielens")
    with pytest.raises(LetterError, match="Toy Story"):
        ll.recommend(ll.Popularity().fit(films.split()), films, ["Toy Stroy (1995)"])
