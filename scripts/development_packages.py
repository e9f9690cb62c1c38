"""Print the packages of the group “dev” in pyproject.toml, one a line, for a pip that knows no groups."""

import tomllib
from pathlib import Path

root = Path(__file__).resolve().parent.parent
project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
print("\n".join(project["dependency-groups"]["dev"]))
