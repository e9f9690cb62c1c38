"""Write the tables of docs/security.md from what the program really answers.

    python scripts/make_security_page.py

Each hostile file of the tests is made and opened without trust, on Linux; the limits are those of
`napari_neuroscope.engine.files.limits`, with what their docstrings say. It takes some minutes.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "security.md"
TITLES = {
    "special": "Paths that are no files",
    "torch": "PyTorch",
    "keras": "Keras and TensorFlow",
    "onnx": "ONNX",
    "package": "Packages of bioimage.io, and factories",
    "text": "Specs, recipes and names of classes",
    "image": "Pictures and NumPy files",
    "tiff": "TIFF",
    "zarr": "Zarr",
    "result": "Saved results",
}
ANSWERS = {"trust": "asks for your trust", "sentence": "refused", "opens": "opened, and harmless"}
_START, _END = "<!-- {} -->\n", "<!-- /{} -->"


def limits_in_words() -> list[tuple[str, str]]:
    """Return each limit with its value: what its docstring says, and how much it is."""
    from napari_neuroscope.engine.files import limits

    tree = ast.parse(Path(limits.__file__).read_text("utf-8"))
    rows = []
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if not isinstance(statement, ast.Assign) or not isinstance(following, ast.Expr):
            continue
        (target,) = statement.targets
        if isinstance(target, ast.Name) and isinstance(following.value, ast.Constant):
            words = str(following.value.value).rstrip(".").replace("\n", " ")
            rows.append(
                (words, in_words(getattr(limits, target.id), of_bytes=words.startswith("Bytes")))
            )
    return rows


def in_words(value: float, *, of_bytes: bool) -> str:
    """Return a limit as people say it."""
    if of_bytes:
        units = ((30, "GB"), (20, "MB"), (10, "kB"))
        size, unit = next((s, u) for s, u in units if value >= 1 << s)
        return f"{value / (1 << size):g} {unit}"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def answers_of(module: str) -> list[dict[str, Any]]:
    """Return what was said of each hostile file of a module of cases."""
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as config:
        command = [sys.executable, "-m", "hostile.watch", root, f"hostile.{module}"]
        # The helpers of tests lie in a folder of their own.
        paths = os.pathsep.join(str(ROOT / "tests" / part) for part in (".", "fixtures"))
        environment = {"PYTHONPATH": paths, "XDG_CONFIG_HOME": config}
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        for answer in answers:
            folder = Path(root) / answer["case"]
            answer["message"] = lasting(answer.get("message", ""), folder.resolve(), root)
        return answers


def lasting(words: str, *places: Path | str) -> str:
    """Return words without what is another each time: where a file lay, and what it holds."""
    for place in places:
        words = words.replace(str(place), "…")
    return re.sub(r"\b[0-9a-f]{64}\b", "…", words)


def table(rows: list[tuple[str, ...]], header: tuple[str, ...]) -> str:
    """Return a table in Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cell(text) for text in row)} |\n" for row in lines)


def cell(text: str) -> str:
    """Return a text that a table of Markdown shows as it is."""
    if set(text) == {"-"}:
        return text
    for mark, shown in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("*", "\\*"), ("`", "\\`")):
        text = text.replace(mark, shown)
    return text.replace("_", "\\_")


def case_rows(answers: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each file: what it is, what comes out, and what is said."""
    rows = []
    for answer in answers:
        said = "" if answer["outcome"] == "opens" else answer["message"]
        name = answer["case"].replace("_", " ")
        rows.append((name, ANSWERS[answer["outcome"]], said))
    return rows


def replaced(page: str, name: str, text: str) -> str:
    """Return the page with what stands between two marks replaced."""
    start, end = _START.format(name), _END.format(name)
    before, rest = page.split(start)
    return before + start + text + end + rest.split(end)[1]


def main() -> None:
    """Write the page."""
    page = PAGE.read_text("utf-8")
    page = replaced(page, "limits", table(limits_in_words(), ("what", "at most")))
    parts, total = [], 0
    for name, title in TITLES.items():
        answers = answers_of(f"{name}_cases")
        wrong = [a["case"] for a in answers if a["outcome"] not in ANSWERS or a["ran"] or a["did"]]
        if wrong:
            raise SystemExit(f"not as they should be: {', '.join(wrong)}")
        total += len(answers)
        header = ("file", "what comes out", "what is said")
        parts.append(f"\n### {title}\n\n{table(case_rows(answers), header)}")
    page = replaced(page, "files", f"\n{total} hostile files are opened so.\n{''.join(parts)}")
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
