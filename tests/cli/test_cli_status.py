"""`muslin status`: one screen, of however many hosts."""

from __future__ import annotations

from typing import Any

from muslin.cli.status import lines


def host(name: str, *, connected: bool = True, problems: list[dict[str, str]] | None = None) -> dict[str, Any]:
    if not connected:
        problems = [{"what": "its agent is not connected", "mend": f"start muslin agent on {name}"}]
    return {"name": name, "connected": connected, "in_sync": connected, "bgp": False, "problems": problems or []}


def screen(*hosts: dict[str, Any], faults: int = 0, everything: bool = False) -> list[str]:
    wrong = [{"object": f"Tier/t{n}", "message": "is not good", "mend": "mend it"} for n in range(faults)]
    status = {"server": {}, "hosts": list(hosts), "faults": wrong, "ok": False}
    return list(lines(status, "unix:/s", everything=everything))


def test_few_hosts_are_all_shown() -> None:
    shown = screen(host("h1"), host("h2", connected=False))
    assert [line.split()[0] for line in shown[2:5]] == ["HOST", "h1", "h2"]
    assert "  h2: its agent is not connected" in shown
    assert "      start muslin agent on h2" in shown
    assert not any("--all" in line for line in shown)


def test_of_a_thousand_hosts_those_that_need_somebody_are_shown() -> None:
    hosts = [host(f"h{n}", connected=n not in (700, 800)) for n in range(1000)]
    shown = screen(*hosts)
    assert [line.split()[0] for line in shown[2:5]] == ["HOST", "h700", "h800"]
    assert shown[5] == "and 998 hosts as they should be: muslin status --all shows each"
    assert "      likewise h800" in shown
    assert sum(line.startswith("h") for line in screen(*hosts, everything=True)) == 1000


def test_what_is_wrong_with_all_is_said_once() -> None:
    shown = screen(*(host(f"h{n}", connected=False) for n in range(1000)), faults=100)
    assert len(shown) < 80
    assert "and 980 more that are not: muslin status --all shows each" in shown
    assert "      likewise h1, h2, h3, h4, h5 and 994 more" in shown
    assert "  and 81 more: muslin status --all" in shown
    whole = screen(*(host(f"h{n}", connected=False) for n in range(1000)), faults=100, everything=True)
    assert sum("is not connected" in line for line in whole) == 1000
    assert sum("is not good" in line for line in whole) == 100


def test_hosts_with_different_troubles_are_not_put_together() -> None:
    shown = screen(host("h1", problems=[{"what": "no route to 10.0.0.1", "mend": "look at eth0"}]),
                   host("h2", problems=[{"what": "no route to 10.0.0.2", "mend": "look at eth0"}]))
    assert "  h1: no route to 10.0.0.1" in shown
    assert "  h2: no route to 10.0.0.2" in shown


def test_all_well() -> None:
    shown = screen(*(host(f"h{n}") for n in range(50)))
    assert "50 hosts as they should be: muslin status --all shows each" in shown
