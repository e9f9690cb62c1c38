"""Write docs/methods.md from the methods' own docstrings."""

from __future__ import annotations

import inspect
from pathlib import Path

import napari_neuroscope as ns

HEAD = """# The methods

A(i) is a layer's activation, g(i) = ∂T/∂A(i) the gradient of the target T, which is the score of a
class summed over a region. Values are returned raw; a map is shown from zero, or about zero where it
has both signs. This page is made of the methods' docstrings by `scripts/make_method_docs.py`.
"""


def section(name: str, method: ns.Method) -> str:
    text = inspect.getdoc(method.function) or ""
    body = text.partition("\nMisleads\n")[0].strip()
    lines = [f"## {method.title}", f"`{name}` · {' and '.join(method.tasks)}", body]
    options = [f"`{o.name}={o.default!r}`" for o in method.options.values()]
    if options:
        lines.append("Options: " + ", ".join(options))
    lines.append(f"**When it misleads.** {method.caution}")
    if method.reference:
        lines.append(f"*{method.reference}*")
    return "\n\n".join(lines)


if __name__ == "__main__":
    page = Path(__file__).resolve().parent.parent / "docs" / "methods.md"
    page.write_text("\n\n".join([HEAD.strip(), *(section(*m) for m in ns.methods.items())]) + "\n")
