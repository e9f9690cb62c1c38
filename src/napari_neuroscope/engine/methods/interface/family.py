"""The families of methods: what they make their maps of."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

Family = Literal[
    "cam", "gradient", "score", "region", "perturbation", "attention", "activation", "other"
]

FAMILIES: MappingProxyType[Family, str] = MappingProxyType(
    {
        "cam": "Class activation maps, of a layer",
        "gradient": "Gradients and relevance, of the pixels",
        "score": "Scores, as the network gives them",
        "region": "Regions of the image",
        "perturbation": "Perturbation of the image",
        "attention": "Attention",
        "activation": "Input and activations",
        "other": "Others",
    }
)
"""What people call each family, in the order in which they are offered."""
