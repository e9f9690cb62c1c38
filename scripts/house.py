"""Print how the house stands: circles, sizes of folders, files and functions, names, tests, types.

python scripts/house.py
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "napari_neuroscope"
TESTS = ROOT / "tests"
PACKAGE = "napari_neuroscope"
MOST_LINES = 400
MOST_OF_FUNCTION = 60
# Words that name nothing.
PLACEHOLDERS = {"found", "one", "own", "known", "this", "them", "other", "thing", "data", "tmp"}
_PARTICIPLE = re.compile(r"^_?[A-Z][a-z]+(ed|ing)$")


def python_files(folder: Path) -> list[Path]:
    """Return the files in a folder and below it."""
    return sorted(folder.rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield all functions and methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names of variables and arguments, as often as they are bound."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def private_reads(tree: ast.AST) -> Iterator[str]:
    """Yield the private attributes that are read of what is not the object itself."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not re.match(r"_[^_]", node.attr):
            continue
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            yield node.attr


def comment_lines(text: str) -> int:
    """Return how many lines have a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def contract_exceptions() -> int:
    """Return how many imports the contracts of import-linter let pass, but those of ONNX itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    return sum(
        not line.split(" -> ")[0].startswith(f"{PACKAGE}.engine.frameworks.onnx")
        for contract in contracts
        for line in contract.get("ignore_imports", ())
    )


def circles_by_folder(graph: grimp.ImportGraph) -> dict[str, int]:
    """Return the folders whose parts import each other in circles, and how many imports close them."""
    packages = [
        ".".join((PACKAGE, *file.parent.relative_to(SOURCE).parts))
        for file in python_files(SOURCE)
        if file.name == "__init__.py"
    ]
    closing = {name: len(graph.nominate_cycle_breakers(name)) for name in packages}
    return {name: count for name, count in closing.items() if count}


def modules_without_tests() -> tuple[int, int]:
    """Return how many modules have no test file of theirs, and how many modules there are."""
    modules = [file.relative_to(SOURCE) for file in python_files(SOURCE)]
    modules = [module for module in modules if not module.name.startswith("__")]
    without = [m for m in modules if not (TESTS / m.parent / f"test_{m.name}").exists()]
    return len(without), len(modules)


def mypy_says() -> str:
    """Return the last line of mypy, which pyproject.toml has be strict."""
    command = [sys.executable, "-m", "mypy"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return lines.strip().splitlines()[-1]


def main() -> None:
    """Print the table."""
    texts = {file: file.read_text("utf-8") for file in python_files(SOURCE)}
    trees = {file: ast.parse(text) for file, text in texts.items()}
    lines = {file: len(text.splitlines()) for file, text in texts.items()}
    sizes = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in trees.values()
        for node in functions(tree)
    ]
    classes = [
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    participles = [name for name in classes if _PARTICIPLE.match(name)]
    names = Counter(name for tree in trees.values() for name in bound_names(tree))
    placeholders = sum(count for name, count in names.items() if name in PLACEHOLDERS)
    comments = sum(map(comment_lines, texts.values()))
    private = sum(
        sum(1 for _ in private_reads(ast.parse(file.read_text("utf-8"))))
        for file in python_files(TESTS)
    )
    circles = circles_by_folder(grimp.build_graph(PACKAGE, cache_dir=None))
    folder, files = Counter(file.parent for file in texts).most_common(1)[0]
    longest = max(lines, key=lambda file: lines[file])
    without, modules = modules_without_tests()
    rows = [
        ("imports that close circles", f"{sum(circles.values())} in {len(circles)} folders"),
        ("imports that a contract lets pass", f"{contract_exceptions()}"),
        ("files directly in a folder, at most", f"{files} ({folder.relative_to(SOURCE)})"),
        ("longest file", f"{lines[longest]:,} lines ({longest.relative_to(SOURCE)})"),
        (f"files above {MOST_LINES} lines", f"{sum(n > MOST_LINES for n in lines.values())}"),
        (f"functions above {MOST_OF_FUNCTION} lines",
         f"{sum(size > MOST_OF_FUNCTION for size in sizes)} of {len(sizes):,}"),
        ("names that are placeholder words", f"{placeholders / names.total():.2%}"),
        ("classes named by a bare participle", f"{len(participles) / len(classes):.1%}"),
        ("lines with a comment", f"{comments / sum(lines.values()):.1%}"),
        ("lines of the package", f"{sum(lines.values()):,} in {len(lines)} files"),
        ("modules without a test file of theirs", f"{without} of {modules}"),
        ("tests that lie loose", f"{len(list(TESTS.glob('test_*.py')))}"),
        ("private attributes that tests read", f"{private}"),
        ("mypy --strict", mypy_says()),
    ]  # fmt: skip
    print("| measured | today |\n| --- | --- |")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))


if __name__ == "__main__":
    main()
