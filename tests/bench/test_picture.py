"""The picture is well formed, shows every figure once, and draws lengths that are true."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from bench.figures import Report
from bench.picture import COLOURS, svg

from benchwords import LIMIT, OURS, PEER, figure, report, section

_SVG = "{http://www.w3.org/2000/svg}"


def _made() -> Report:
    return report(
        section(figure("plain <routing>", 200, side=LIMIT), figure("muslin", 300, group="10 & 10", aim_ratio=1.2),
                figure("iptables", 800, group="10 & 10", side=PEER), base="plain <routing>"),
        section(figure("add", 4, unit="ms", aim=10), figure("drop", 400, unit="ms", side=PEER), key="programming.x"))


def _bars(picture: str, colour: str) -> list[float]:
    return [float(bar.get("width", "0")) for bar in ElementTree.fromstring(picture).iter(f"{_SVG}rect")
            if bar.get("fill") == colour and bar.get("width") != "12"]


def test_every_figure_is_named_and_escaped() -> None:
    words = [text.text for text in ElementTree.fromstring(svg(_made())).iter(f"{_SVG}text")]
    for name in ("plain <routing>", "muslin", "iptables", "10 & 10", "add", "drop", "Title of programming.x"):
        assert words.count(name) == (2 if name == "muslin" else 1), name  # it is in the legend as well


def test_bars_are_as_long_as_their_ratios() -> None:
    picture = svg(_made())
    (plain,), (ours, _add), (theirs, _drop) = (_bars(picture, COLOURS[side]) for side in (LIMIT, OURS, PEER))
    assert theirs / plain == pytest.approx(4, rel=0.01)
    assert ours / plain == pytest.approx(1.5, rel=0.01)


def test_what_misses_its_aim_has_a_red_number() -> None:
    numbers = {text.text: text.get("fill") for text in ElementTree.fromstring(svg(_made())).iter(f"{_SVG}text")}
    assert numbers["1.5"] == "#b2182b"
    assert numbers["4 ms"] == "#222"


def test_sections_that_are_not_for_the_picture_are_not_in_it() -> None:
    hidden = section(figure("hidden", 1))
    with_hidden = report(type(hidden)(key="x", title="x", measure="m", figures=hidden.figures, pictured=False))
    assert "hidden" not in svg(with_hidden)
