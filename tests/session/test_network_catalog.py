"""Networks are offered by titles that tell them apart."""

from __future__ import annotations

from pathlib import Path

from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.session.network_catalog import DEMO_TITLES, NetworkCatalog
from napari_neuroscope.session.session import Session


def network(name: str = "mine") -> ns.Network:
    return ns.wrap(nn.Conv2d(3, 2, 3), {"task": "segmentation"}, name=name, device="cpu")


def test_networks_in_memory_have_a_title_each() -> None:
    catalog, first, second = NetworkCatalog(), network(), network()
    assert [catalog.add(net) for net in (first, first, second)] == ["mine", "mine", "mine 2"]
    assert catalog.open("mine 2") is second
    assert catalog.loaded() == (first, second)
    assert catalog.title_of(second) == "mine 2"
    assert catalog.title_of(network()) == ""
    assert catalog.add(first, "a\nname") == "a\\nname"


def test_a_network_is_replaced_under_its_title() -> None:
    catalog, first, second = NetworkCatalog(), network(), network()
    title = catalog.add(first)
    catalog.replace(first, second)
    assert catalog.open(title) is second
    assert catalog.title_of(first) == ""


def test_files_of_one_name_have_a_title_each_and_are_opened_by_it() -> None:
    catalog = NetworkCatalog()
    paths = [Path("/a/net.pt"), Path("/b/net.pt"), Path("/a/net.pt")]
    assert [catalog.add_file(path) for path in paths] == ["net.pt", "net.pt 2", "net.pt"]
    assert catalog.title_for("/b/net.pt") == "net.pt 2"
    assert catalog.title_for("demo:nuclei") == DEMO_TITLES["nuclei"]
    assert catalog.title_for("demo:none") == catalog.title_for(None) == ""


def test_what_is_opened_beside_is_offered_in_both_sessions() -> None:
    session = Session()
    beside = session.beside()
    title = beside.add_network(network())
    assert session.networks[-1] == beside.networks[-1] == title
    assert session.catalog is beside.catalog
