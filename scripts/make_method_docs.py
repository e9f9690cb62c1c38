"""Write the cards of the methods from their own source: docs/methods.md and docs/methods/.

    python scripts/make_method_docs.py

The table of the README, of which method works with which framework, is written from what really
runs; it needs the packages of all frameworks.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import method_support
import napari_neuroscope as ns
from napari_neuroscope.engine.methods.interface import Option

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- made by scripts/make_method_docs.py -->"
TABLE = re.compile("(?<=<!-- methods -->\n).*?(?=<!-- /methods -->)", re.DOTALL)

HEAD = f"""{MADE}

# The methods

A(i) is a layer's activation, g(i) = ∂T/∂A(i) the gradient of the target T, which is the score of a
class, for a segmentation summed over a region. Values are returned raw; a map is shown from zero, or
about zero where it has both signs. Which method works with which framework is in the table of the
[README](../README.md#methods); which can be believed is judged [on two images](judging.md).

A pass is one input through the network, alone or in a batch. The costs are what one class of one
layer takes beside the one forward pass of the image, which all methods, layers and classes share; they
are counted in the tests. `channels` are those of the layer."""

NEEDS = {
    ns.Needs.LAYER: "a layer",
    ns.Needs.TARGET: "a class",
    ns.Needs.GRADIENTS: "gradients",
    ns.Needs.GUIDED: "guided gradients",
    ns.Needs.RESUMED: "passes that begin at a layer",
}


def pages() -> dict[str, str]:
    """Return each page of the methods: its place in docs, and its text."""
    made = {f"methods/{name}.md": _page(name, method) for name, method in ns.methods.items()}
    return {"methods.md": _overview(), **made}


def readme_with(table: str, readme: str) -> str:
    """Return the README with another table of methods."""
    return TABLE.sub(lambda _: table, readme)


def _overview() -> str:
    head = ("method", "shows", "forward passes", "backward passes", "tile by tile")
    rows = [head, ("---",) * len(head)]
    for name, method in ns.methods.items():
        counts = method.passes.words if method.passes is not None else {}
        forward = counts.get("Forward passes", "not known")
        behind = counts.get("Passes behind the layer")
        rows.append(
            (
                f"[{method.title}](methods/{name}.md)",
                method.summary,
                f"{forward}; behind the layer {behind}" if behind else forward,
                counts.get("Backward passes", "not known"),
                "yes" if method.tiles is not None else "no",
            )
        )
    return f"{HEAD}\n\n{_table(rows)}\n".replace("``", "`")


def _page(name: str, method: ns.Method) -> str:
    needs = [words for need, words in NEEDS.items() if need in method.needs]
    parts = [
        MADE,
        f"# {method.title}",
        " · ".join(
            [
                f"`{name}`",
                " and ".join(method.tasks),
                f"needs {', '.join(needs) or 'nothing'}",
                "on tiles too" if method.tiles is not None else "on whole images only",
            ]
        ),
        f"**{method.summary}**",
        method.description,
        f"**Cost.** {method.cost or 'Not known.'}",
        f"**When it misleads.** {method.caution}",
    ]
    if method.options:
        head = [("option", "default", "values", "meaning"), ("---",) * 4]
        parts.append(_table([*head, *map(_option, method.options.values())]))
    if method.reference:
        parts.append("; ".join(map(_linked, method.reference.split("; "))))
    parts.append("[All methods](../methods.md)")
    return "\n\n".join(parts).replace("``", "`") + "\n"


def _option(option: Option) -> tuple[str, ...]:
    return f"`{option.name}`", f"`{option.default!r}`", _values(option), option.meaning


def _values(option: Option) -> str:
    """Return what an option takes, as far as its type says it."""
    schema = TypeAdapter(option.limited).json_schema()
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema and schema["anyOf"][0].get("type") == "integer":
        return f"{_numbers(schema['anyOf'][0])}, or one an axis"
    if schema.get("type") == "array":
        return f"{_numbers(schema['items'])}, several"
    return _numbers(schema)


def _numbers(schema: dict[str, Any]) -> str:
    kinds = {"integer": "whole number", "number": "number", "boolean": "yes or no"}
    kind = kinds.get(schema.get("type", ""), "name")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is None:
        return kind
    least = f"{kind} {'above' if 'exclusiveMinimum' in schema else 'from'} {low:,.0f}"
    return f"{least} to {schema['maximum']:,.0f}" if "maximum" in schema else f"{least} on"


def _table(rows: list[tuple[str, ...]]) -> str:
    cells = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows)
    return "\n".join(f"| {row} |" for row in cells)


def _linked(paper: str) -> str:
    """Return a paper with its identifier as a link."""
    paper = re.sub(r"doi:(\S+)$", r"[doi:\1](https://doi.org/\1)", paper)
    return re.sub(r"arXiv:(\S+)$", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


def main() -> None:
    """Write the pages, and the README's table."""
    docs, readme = ROOT / "docs", ROOT / "README.md"
    (docs / "methods").mkdir(exist_ok=True)
    for old in (docs / "methods").glob("*.md"):
        old.unlink()
    for place, text in pages().items():
        (docs / place).write_text(text, encoding="utf-8")
    table = method_support.table(
        {name: method_support.found(name) for name in method_support.FRAMEWORKS}
    )
    readme.write_text(readme_with(table, readme.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
