"""Print how the house stands: circles, floors, and sizes of folders, files and functions.

python scripts/house.py
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "napari_neuroscope"
PACKAGE = "napari_neuroscope"
# Words that name nothing.
PLACEHOLDERS = {"found", "one", "own", "known", "this", "them", "other", "thing", "data", "tmp"}
_PARTICIPLE = re.compile(r"^_?[A-Z][a-z]+(ed|ing)$")


def python_files() -> list[Path]:
    """Return the files of the package."""
    return sorted(SOURCE.rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield all functions and methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def names_bound(tree: ast.AST) -> Iterator[str]:
    """Yield the names of variables and arguments, as often as they are bound."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def imports_let_up() -> int:
    """Return how many imports of the engine are let go up, by the floors that lint-imports keeps."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = told["tool"]["importlinter"]["contracts"]
    (floors,) = (one for one in contracts if one["name"] == "Floors of the engine")
    return len(floors["ignore_imports"])


def folders_in_circles(graph: grimp.ImportGraph) -> dict[str, int]:
    """Return the folders whose parts import each other in circles, and how many imports close them."""
    packages = [
        ".".join((PACKAGE, *file.parent.relative_to(SOURCE).parts))
        for file in python_files()
        if file.name == "__init__.py"
    ]
    closing = {name: len(graph.nominate_cycle_breakers(name)) for name in packages}
    return {name: count for name, count in closing.items() if count}


def main() -> None:
    """Print the table."""
    trees = {file: ast.parse(file.read_text("utf-8")) for file in python_files()}
    lines = {file: len(file.read_text("utf-8").splitlines()) for file in trees}
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
    bound = Counter(name for tree in trees.values() for name in names_bound(tree))
    placeholders = sum(count for name, count in bound.items() if name in PLACEHOLDERS)
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    circles = folders_in_circles(graph)
    fullest = Counter(file.parent for file in trees).most_common(1)[0]
    longest = max(lines, key=lambda file: lines[file])
    rows = [
        ("imports that close circles", f"{sum(circles.values())} in {len(circles)} folders"),
        ("imports of the engine that do not go down", f"{imports_let_up()}"),
        ("files directly in a folder, at most", f"{fullest[1]} ({fullest[0].relative_to(SOURCE)})"),
        ("longest file", f"{lines[longest]:,} lines ({longest.relative_to(SOURCE)})"),
        ("files above 400 lines", f"{sum(count > 400 for count in lines.values())}"),
        ("functions above 60 lines", f"{sum(size > 60 for size in sizes)} of {len(sizes):,}"),
        ("names that are placeholder words", f"{placeholders / bound.total():.1%}"),
        ("classes named by a bare participle", f"{len(participles) / len(classes):.1%}"),
        ("lines of the package", f"{sum(lines.values()):,} in {len(lines)} files"),
    ]
    print("| measured | today |\n| --- | --- |")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))


if __name__ == "__main__":
    main()
