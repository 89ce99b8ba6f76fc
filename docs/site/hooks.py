"""What Sphinx does not do by itself, as a Sphinx extension."""

import inspect
import os
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parents[2]
KATEX = re.compile("katex|auto-render")
PLAY = Path("docs/play")  # the page that runs a model in the browser
# A link, whose words may hold a picture. It begins at the nearest bracket: a notebook, read as
# text, has brackets of JSON around it.
_LINK = re.compile(r"(?<!!)\[((?:!\[[^\[\]]*\]\([^)\s]+\)|[^\[\]])*)\]\(([^)\s]+)\)")


def read_lesson(text: str) -> nbformat.NotebookNode:
    """A notebook whose pictures have the alternative texts that lie beside them."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        alts = [
            output.metadata.get("image/png", {}).get("alt", "")
            for output in cell.get("outputs", ())
            if "image/png" in output.get("data", {})
        ]
        if alts:
            cell.metadata["mystnb"] = {"image": {"alt": " ".join(" ".join(alts).split())}}
    return notebook


def move_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to a folder become links to its README.md, or text if it has none; those to the page
    to play become HTML, which Sphinx leaves alone.
    """
    folder = (REPOSITORY / docname).parent

    def moved(link: re.Match) -> str:
        words, target = link.groups()
        path = Path(os.path.normpath(folder / target.partition("#")[0]))
        if path.is_relative_to(REPOSITORY / PLAY):
            quote = '\\"' if source[0].startswith("{") else '"'  # a notebook is JSON here
            return f"<a href={quote}{target}{quote}>{words}</a>"
        if target.partition("#")[0] and path.is_dir():
            return f"[{words}]({target}/README.md)" if (path / "README.md").exists() else words
        return link[0]

    source[0] = _LINK.sub(moved, source[0])


def fields(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings, which are plain text, in Sphinx's markup.

    A line for each argument (`k: places of each list`) becomes a field, as do Returns and Raises;
    what is indented otherwise stays as it is written.
    """
    try:
        arguments = set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        arguments = set()
    written: list[str] = []
    state = "text"  # or "field", or "literal"
    for line in lines:
        argument = re.match(r"(\w+): (.*)", line)
        raised = what != "module" and re.match(r"Raises (\w+) (.*)", line)
        returned = what != "module" and re.match(r"Returns? (.*)", line)
        field = ""
        if argument and argument[1] in arguments:
            field = f":param {argument[1]}: {argument[2]}"
        elif raised:
            field = f":raises {raised[1]}: {raised[2]}"
        elif returned:
            field = f":returns: {returned[1]}"
        indented, blank = line.startswith(" "), not line.strip()
        if field:
            written += ([] if state == "field" else [""]) + [_escaped(field)]
            state = "field"
        elif blank or (indented and state == "field"):
            written.append(_escaped(line))
            state = "text" if blank and state == "field" else state
        elif indented:
            written += ([] if state == "literal" else ["", "::", ""]) + [line]
            state = "literal"
        elif state == "field" and not written[-1].rstrip().endswith((".", ":")):
            written.append(f"    {_escaped(line)}")  # the sentence goes on
        else:
            written += ([] if state == "text" else [""]) + [_escaped(line)]
            state = "text"
    lines[:] = written


def _escaped(line: str) -> str:
    """Text in which |a| and *a mean what they are, outside of `code`."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        part if part.startswith("`") else re.sub(r"([|*])", r"\\\1", part) for part in parts
    )


def page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """The language of Korean pages, a description for search engines, KaTeX where formulas are."""
    if pagename.startswith("docs/ko/") or pagename == "README.ko":
        context["language"] = "ko"
    paragraphs = [] if doctree is None else doctree.findall(nodes.paragraph)
    texts = (" ".join(paragraph.astext().split()) for paragraph in paragraphs)
    text = next((text for text in texts if len(text) > 60), app.config.description)
    context["description"] = textwrap.shorten(text, 160, placeholder=" …")
    formulas = doctree is not None and any(doctree.findall(lambda node: "math" in node.tagname))
    for kind in ("css_files", "script_files"):
        files = [file for file in context[kind] if KATEX.search(str(file.filename))]
        if not formulas:
            context[kind] = [file for file in context[kind] if file not in files]
        elif kind == "script_files":
            for file in files:
                file.attributes["defer"] = "defer"


def copy_play(app: Sphinx, error: Exception | None) -> None:
    """Put the page to play where it lies in the repository."""
    if error is None and app.builder.name == "html":
        shutil.copytree(REPOSITORY / PLAY, Path(app.outdir) / PLAY, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("description", "", "html")
    app.connect("source-read", move_links)
    app.connect("autodoc-process-docstring", fields)
    app.connect("html-page-context", page)
    app.connect("build-finished", copy_play)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
