"""The docs are true: their Python runs, and no public name lacks its part."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import keras
import pytest

import keras_adamx
from keras_adamx.core.arguments import Declared, flag

ROOT = Path(__file__).parents[2]
TRANSLATED = sorted((ROOT / "docs" / "ja").rglob("*.md"))
PAGES = sorted(
    {ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")}
    - set(TRANSLATED)
)
BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax", "PyTorch": "torch"}
# A block may stand in a list or a tab, indented.
FENCE = re.compile(
    r"^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)

# Keras converts torch's tensors, which do not know the copy argument of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


class Block(NamedTuple):
    """A Python block of a page and the line of the page on which its code begins."""

    code: str
    line: int

    def is_for(self, backend: str) -> bool:
        """Whether the backend is named in the first line, or none is."""
        first = self.code.splitlines()[0]
        named = [key for name, key in BACKENDS.items() if name in first]
        return not first.startswith("#") or not named or backend in named


def blocks_of(text: str) -> list[Block]:
    """The Python blocks of a page."""
    blocks = [
        Block(textwrap.dedent(found["code"]), text.count("\n", 0, found.start()) + 2)
        for found in FENCE.finditer(text)
    ]
    assert len(blocks) == len(re.findall("```py", text)), "a block is not understood"
    return blocks


def run(text: str, page: str, backend: str) -> None:
    """Run the blocks in order, in one namespace; errors show the line of the page."""
    namespace = {"__name__": "__main__"}
    for block in blocks_of(text):
        if block.is_for(backend):
            code = "\n" * (block.line - 1) + block.code
            exec(compile(code, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page.read_text("utf-8"), str(page), keras.backend.backend())


FENCED = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) (.*?)(?: \{#(.*)\})?$", re.MULTILINE)


def outline(text: str) -> list[tuple[str, str | None]]:
    """Level and name of each heading; the title of a page has no name."""
    found = []
    for level, words, name in HEADING.findall(FENCED.sub("", text)):
        # As Markdown makes names of headings.
        of_words = re.sub(r"[^\w\s-]", "", words).strip().lower()
        slug = name or re.sub(r"[-\s]+", "-", of_words)
        found.append((level, None if level == "#" else slug))
    return found


def programs(text: str) -> list[tuple[str, set[str]]]:
    """What the blocks of a page do, without comments, and for which backends."""
    return [
        (ast.dump(ast.parse(b.code)), {x for x in BACKENDS.values() if b.is_for(x)})
        for b in blocks_of(text)
    ]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda path: path.name)
def test_translations_are_in_step(page):
    """The blocks run in the English page; here they are the same."""
    ours = page.read_text("utf-8")
    english = (ROOT / "docs" / page.name).read_text("utf-8")
    assert outline(ours) == outline(english)
    for mine, theirs in zip(programs(ours), programs(english), strict=True):
        assert mine == theirs


def test_a_translation_out_of_step_is_noticed():
    text = "# A\n\n## B c\n\n```python\nx = 1  # one\n```\n"
    same = "# あ\n\n## い {#b-c}\n\n```python\nx = 1  # 一\n```\n"
    assert outline(text) == outline(same)
    assert programs(text) == programs(same)
    assert outline(text) != outline(same.replace("b-c", "b-d"))
    assert outline(text) != outline(same.replace("##", "###"))
    assert programs(text) != programs(same.replace("x = 1", "x = 2"))
    assert programs(text) != programs(same.replace("x = 1", "# JAX\nx = 1"))


def test_a_broken_block_fails():
    page = "text\n\n```python\nx = 1\n```\n\n"
    page += "=== tab\n\n    ```python\n    1 / (x - 1)\n    ```\n"
    with pytest.raises(ZeroDivisionError) as error:
        run(page, "page.md", "jax")
    assert error.traceback[-1].lineno + 1 == 10
    with pytest.raises(AssertionError, match="not understood"):
        blocks_of("```python\nx = 1")


@pytest.mark.parametrize(
    ("first", "backends"),
    [
        ("# JAX", {"jax"}),
        ("# TensorFlow and PyTorch", {"tensorflow", "torch"}),
        ("# With JAX in mind", {"jax"}),
        ("# Any backend", set(BACKENDS.values())),
        ("name = 'JAX'", set(BACKENDS.values())),
    ],
)
def test_blocks_for_one_backend(first, backends):
    block = Block(f"{first}\nx = 1\n", 1)
    assert {b for b in BACKENDS.values() if block.is_for(b)} == backends


def modules() -> Iterator[ModuleType]:
    """The package and its modules, without the files of other backends."""
    yield keras_adamx
    for found in pkgutil.walk_packages(keras_adamx.__path__, "keras_adamx."):
        if ".backend." not in found.name and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def examples() -> list[doctest.DocTest]:
    """The docstrings that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [
        test
        for module in modules()
        for test in finder.find(
            module, extraglobs={"keras": keras, "keras_adamx": keras_adamx}
        )
        if test.examples
    ]
    return list({test.name: test for test in found}.values())


def failures(example: doctest.DocTest) -> str:
    """What doctest has to say about examples, if they fail."""
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_examples_of_docstrings(example):
    assert not failures(example)


def test_a_wrong_example_fails():
    parser = doctest.DocTestParser()
    for text, right in ((">>> 1 + 1\n2\n", True), (">>> 1 + 1\n3\n", False)):
        example = parser.get_doctest(text, {}, "sum", None, None)
        assert (not failures(example)) == right


def test_every_optimizer_has_an_example():
    names = [example.name for example in examples()]
    for cls in hooks().optimizers().values():
        assert f"{cls.__module__}.{cls.__name__}" in names


def hooks() -> ModuleType:
    """What builds the pages; it needs MkDocs only while MkDocs runs."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_public_name_lacks_docs():
    assert hooks().problems() == []


def test_lacking_docs_are_noticed():
    class Bare:
        pass

    class Incomplete(Declared):
        """Says little.

        Args:
            nothing: Something.
        """

        lonely: bool = flag(False)

    problems_of = hooks().problems_of
    assert problems_of("Bare", Bare, ()) == ["Bare has no docstring"]
    assert problems_of("Incomplete", Incomplete, ("Args", "Source")) == [
        "Incomplete has no section `Source:`",
        "Incomplete does not say what `lonely` is",
        "Incomplete describes `nothing`, which it does not take",
    ]


def test_pages_of_optimizers():
    made = hooks()
    for cls in made.optimizers().values():
        page = made.optimizer_page(cls)
        for heading in ("Rule", "Arguments", "Example", "Source"):
            assert f"\n## {heading}\n" in page
        for argument in made.own_arguments(cls):
            assert f"\n| `{argument}` | " in page
    assert "```text\nm ← β₁ m + (1 - β₁) g  " in made.optimizer_page(keras_adamx.Adam)
