"""Who sees which container's name: Docker's rule, over all hosts."""

from __future__ import annotations

from muslin.plugins.docker import words
from muslin.plugins.docker.names import Names


def known() -> Names:
    names = Names()
    names.realm("blue").put("docker/a", ["Web", "w", "0123456789ab"], ["10.65.0.1", "fd00:65::1"])
    names.realm("blue").put("docker/b", ["web2", "w"], ["10.65.0.2"])
    names.realm("shop-back").put("docker/c", ["web"], ["10.65.9.1"])
    return names


BLUE, BACK = ("blue", "blue"), ("shop-back", "shop_back")


def test_a_name_leads_to_all_who_have_it_in_a_network_that_one_is_in() -> None:
    names = known()
    assert names.addresses([BLUE], "web") == ["10.65.0.1", "fd00:65::1"]
    assert names.addresses([BLUE], "w") == ["10.65.0.1", "fd00:65::1", "10.65.0.2"]
    assert names.addresses([BACK], "web") == ["10.65.9.1"]
    assert names.addresses([BACK, BLUE], "w") == ["10.65.0.1", "fd00:65::1", "10.65.0.2"]
    assert names.addresses([("red", "red")], "web") == []


def test_name_and_network_ask_that_network() -> None:
    names = known()
    assert names.addresses([BLUE, BACK], "web.shop_back") == ["10.65.9.1"]
    assert names.addresses([BLUE, BACK], "web.shop-back") == ["10.65.9.1"]
    assert names.addresses([BLUE], "web.shop-back") == []


def test_an_address_asked_back_has_its_container_s_name() -> None:
    names = known()
    assert names.name([BLUE], "10.65.0.1") == "web.blue"
    assert names.name([BACK], "10.65.0.1") == ""


def test_who_is_renamed_or_gone_leaves_nothing() -> None:
    names = known()
    names.realm("blue").put("docker/a", ["api"], ["10.65.0.7"])
    assert names.addresses([BLUE], "web") == []
    assert names.name([BLUE], "10.65.0.1") == ""
    for key in ("docker/a", "docker/b", "docker/never"):
        names.realm("blue").drop(key)
    realm = names.realm("blue")
    assert (realm.holders, realm.by_name, realm.by_address) == ({}, {}, {})


def test_an_address_that_has_a_new_owner_stays_with_him() -> None:
    names = known()
    names.realm("blue").put("docker/new", ["new"], ["10.65.0.1"])
    names.realm("blue").drop("docker/a")
    assert names.name([BLUE], "10.65.0.1") == "new.blue"


def test_names_of_a_container() -> None:
    first = words.first_names("shop_db_1", "0123456789abcdef", {"com.docker.compose.service": "db"})
    assert first == ("shop_db_1", "db", "0123456789ab")
    found = {"NetworkSettings": {"Networks": {
        "other": {"EndpointID": "e2", "Aliases": ["never"]},
        "back": {"EndpointID": "e1", "Aliases": ["db", "data base", "x" * 64, "db.shop"], "DNSNames": None}}}}
    assert words.names(found, "e1", first) == (*first, "db.shop")
