"""Names of workloads: the whole realm first, then its changes, and nothing of other realms."""

from __future__ import annotations

from serverrig import Api, weps, workload

REALM = "/muslin/v1/names/blue"


def called(name: str, address: str, names: str, realm: str = "blue") -> dict[str, object]:
    made = workload(name, "h1", address)
    made["metadata"]["annotations"] = {"muslin.dev/names": names, "muslin.dev/names-in": realm}
    return made


def test_a_realm_is_told_whole_and_then_as_it_changes(api: Api) -> None:
    web = "shop/h1-muslin-web-eth0"
    api.made(weps(), called("web", "10.65.0.1", "web www"))
    api.made(weps(), called("red", "10.65.0.9", "web", "red"))
    with api.lines(REALM) as lines:
        assert next(lines) == {"whole": {web: [["web", "www"], ["10.65.0.1"]]}}
        api.made(weps(), workload("plain", "h1", "10.65.0.8"))
        api.made(weps(), called("db", "10.65.0.2", "db"))
        assert next(lines) == {"endpoint": "shop/h1-muslin-db-eth0", "names": [["db"], ["10.65.0.2"]]}
        api.patch(f"{weps()}/h1-muslin-web-eth0", {"metadata": {"annotations": {"muslin.dev/names": "web"}}})
        assert next(lines) == {"endpoint": web, "names": [["web"], ["10.65.0.1"]]}
        api.patch(f"{weps()}/h1-muslin-web-eth0", {"metadata": {"annotations": {"muslin.dev/names-in": "red"}}})
        assert next(lines) == {"endpoint": web, "names": None}
        api.delete(f"{weps()}/h1-muslin-db-eth0")
        assert next(lines) == {"endpoint": "shop/h1-muslin-db-eth0", "names": None}


def test_an_unknown_realm_is_empty_until_somebody_is_in_it(api: Api) -> None:
    with api.lines("/muslin/v1/names/new") as lines:
        assert next(lines) == {"whole": {}}
        api.made(weps(), called("web", "10.65.0.1", "web", "new"))
        assert next(lines)["names"] == [["web"], ["10.65.0.1"]]
