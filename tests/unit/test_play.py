"""The page to play with: its JavaScript finds what Python finds."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from browsing import faults_of, serious_findings, served

import letterlib as ll
from letterlib.course import play
from letterlib.data.dataset import Cases

NODE = shutil.which("node")

FIND = """
const find = (model, histories, free) => histories.map((history) =>
  search(model, history, { free }).found.slice(0, 10).map(({ item, score }) => [item, score]));
"""
IN_NODE = f"""
import {{ readFileSync }} from "node:fs";
const {{ folder, name, histories, free }} = JSON.parse(readFileSync(0));
const {{ Tiger, search }} = await import(`file://${{folder}}/model.js`);
const bytes = readFileSync(`${{folder}}/${{name}}.safetensors`);
{FIND}
const model = new Tiger(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
console.log(JSON.stringify(find(model, histories, free)));
"""
IN_BROWSER = f"""async ({{ name, histories, free }}) => {{
const {{ Tiger, search }} = await import("./model.js");
{FIND}
const model = new Tiger(await (await fetch(`${{name}}.safetensors`)).arrayBuffer());
return find(model, histories, free);
}}"""


def histories(n, seed=0):
    """Random histories of 0 to 7 films."""
    random = np.random.default_rng(seed)
    return [random.choice(3496, random.integers(8), replace=False).tolist() for _ in range(n)]


def assert_same_as_python(found, name, past, free):
    """found: for each history ten pairs (item, score), best first.

    Two films may change places if their scores differ by less than float32 resolves (2e-5).
    """
    model, cases = ll.load(play.FOLDER / f"{name}.safetensors", "cpu"), Cases.from_histories(past)
    if free:
        expected = model.recommend_unconstrained(cases, 12)
    else:
        expected = model.recommend(cases, 12, exclude_history=True)
    same = 0
    for pairs, items, scores in zip(found, expected.items, expected.scores, strict=True):
        same += [item for item, _ in pairs] == items[:10].tolist()
        score_of = dict(zip(items.tolist(), scores.tolist(), strict=True))
        for (item, score), score_here in zip(pairs, scores, strict=False):
            if item >= 0:
                assert score == pytest.approx(score_of[item], abs=2e-5)
                assert score_of[item] == pytest.approx(score_here, abs=2e-5)
    assert same >= 0.99 * len(found)


@pytest.mark.skipif(not NODE, reason="needs node")
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", play.MODELS)
def test_javascript_finds_the_films_that_python_finds(name, free):
    past = histories(12)
    question = {"folder": str(play.FOLDER), "name": name, "histories": past, "free": free}
    command = [NODE, "--input-type=module", "-e", IN_NODE]
    answer = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, check=True
    )
    assert_same_as_python(json.loads(answer.stdout), name, past, free)


@pytest.mark.skipif(not NODE, reason="needs node")
def test_a_drawn_sequence_names_the_film_that_is_called_so_or_none():
    code = f"""
import {{ readFileSync }} from "node:fs";
const {{ Tiger, draw }} = await import("file://{play.FOLDER}/model.js");
const bytes = readFileSync("{play.FOLDER}/both.safetensors");
const model = new Tiger(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
console.log(JSON.stringify(draw(model, [0, 1], {{ n: 40, temperature: 1.5 }}).found));
"""
    command = [NODE, "--input-type=module", "-e", code]
    drawn = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    tokens = ll.load(play.FOLDER / "both.safetensors", "cpu").item_tokens.tolist()
    items = {tuple(identifier): item for item, identifier in enumerate(tokens)}
    assert [sequence["item"] for sequence in drawn] == [
        items.get(tuple(sequence["tokens"]), -1) for sequence in drawn
    ]
    assert {sequence["item"] < 0 for sequence in drawn} == {True, False}


def test_films_are_those_of_the_data_set(tmp_path):
    films = ll.data.load_dataset("movielens", cache_dir=tmp_path)
    counts = films.split(held_out=5).train_counts
    play.write_films(films, counts, tmp_path / "films.json")
    assert (tmp_path / "films.json").read_bytes() == (play.FOLDER / "films.json").read_bytes()
    assert play.title_and_year("Matrix, The (1999)") == ("The Matrix", 1999)


def test_the_page_is_small():
    assert sum(file.stat().st_size for file in play.FOLDER.iterdir()) < 5e6


@pytest.fixture(scope="module")
def address():
    with served(play.FOLDER) as address:
        yield f"{address}/"


@pytest.fixture
def page(browser, address):
    """The page at the width of a phone; an error or a request to another host fails the test."""
    page = browser.new_page(viewport={"width": 360, "height": 780})
    faults = faults_of(page, address)
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector("#list li")
    yield page
    page.close()
    assert faults == []


@pytest.mark.slow
@pytest.mark.parametrize("name", play.MODELS)
def test_a_browser_finds_the_same_for_a_thousand_histories(page, name):
    past, found = histories(1000, seed=1), []
    for start in range(0, 1000, 50):
        question = {"name": name, "histories": past[start : start + 50], "free": False}
        found += page.evaluate(IN_BROWSER, question)
    assert_same_as_python(found, name, past, free=False)


@pytest.mark.slow
def test_it_is_played_with_the_keyboard(page):
    page.focus("#query")
    page.keyboard.type("matrix")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('#chosen li').length === 5")
    assert "The Matrix" in page.inner_text("#chosen li:last-child")
    both = page.inner_text("#list")
    page.focus("[name=signals][value=both]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('#list').innerText !== before", arg=both
    )
    assert "in the list of both" in page.inner_text("#summary")
    page.focus("#restart")
    page.keyboard.press("Enter")
    for step in range(1, 5):
        page.focus("#step")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "text => document.querySelector('#explain').innerText.startsWith(text)",
            arg=f"Code {step} of 4",
        )
    page.focus("[name=way][value=trie]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#list-title').innerText === 'Ten sequences'")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("choice", ["", "#films=0,1,2,30,77&signals=text", "#films=0&way=draw"])
def test_axe_finds_nothing_serious(page, address, scheme, choice):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto("about:blank")
    page.goto(address + choice)
    page.wait_for_selector("#list li")
    page.focus("#query")
    page.keyboard.press("ArrowDown")
    assert serious_findings(page) == []
