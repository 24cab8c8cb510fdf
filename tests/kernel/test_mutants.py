"""Mistakes that the proof must notice: that each can still be put in, and a few that are. All: `./dev mutants`."""

from __future__ import annotations

import pytest

from mutants.listed import MUTANTS
from mutants.runner import Mutant, fate, sound

pytestmark = [pytest.mark.kernel]

FEW = ("the last port of a range is left out", "a staged policy is enforced", "nft: pre-DNAT Allow is forgotten",
       "iptables: notSelector means selector")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mistake_can_still_be_put_in(mutant: Mutant) -> None:
    """Its words are in the sources, once. Whoever rewrites them rewrites the mistake."""
    assert not sound(mutant)


def test_names_and_properties_of_mistakes_are_told_apart() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_the_proof_notices(name: str) -> None:
    (mutant,) = [each for each in MUTANTS if each.name == name]

    found = fate(mutant, mutant.killers)

    assert found.killed, f"it lives: {found.told}"
    assert "world" in found.told, f"it was noticed by accident: {found.told}"
