"""What an agent knows that starts alone: after one that was killed under churn, beside a full disk, or of old.

Real disks (a small tmpfs), real agents; the server is dead.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agentrig import V3, Site, deny_to, ping, site
from muslin.agent.snapshot import Snapshot
from muslin.calc.host import Graph
from muslin.intent import Delta
from muslin.lab.record import Workload
from netrig import in_ns, run, wait_for

pytestmark = pytest.mark.kernel


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        yield made


def rules(place: Site) -> str:
    return in_ns(place.space("h1"), "nft", "list", "ruleset")


def state(place: Site) -> Path:
    return place.state / "agents" / "h1"


def forget(place: Site) -> None:
    """As after a start of the machine, but for its links."""
    for words in (("nft", "flush", "ruleset"), ("ip", "route", "flush", "proto", "80")):
        in_ns(place.space("h1"), *words)


def kill_both(place: Site) -> None:
    """The agent first: it is not told that nobody speaks to it any more."""
    place.signal("agent-h1", signal.SIGKILL)
    place.signal("server", signal.SIGKILL)


def start_alone(place: Site) -> None:
    told = place.words("agent-h1").count("using_snapshot")
    place.start_agent("h1", healthy=False)
    wait_for("the snapshot", lambda: place.words("agent-h1").count("using_snapshot") > told)


def test_killed_right_after_a_change_under_churn_the_next_one_knows_it(place: Site) -> None:
    """At whatever moment: what the kernel had was kept before."""
    place.start_agent("h1")
    web, db = place.guest("h1", "web"), place.guest("h1", "db", labels={"app": "db"})
    for number, churn in enumerate((3, 8, 5)):
        for each in range(churn):
            place.declare(deny_to(f"noise-{number}-{each}", "app == 'db'", protocol="UDP"))
        closed = number % 2 == 0
        if closed:
            place.declare(deny_to("a-closing", "app == 'db'", protocol="ICMP"))
        else:
            place.api.delete(f"{V3}/globalnetworkpolicies/a-closing")
        wait_for("the change", lambda closed=closed: ("a-closing" in rules(place)) == closed)
        kill_both(place)
        forget(place)

        start_alone(place)

        wait_for("the last noise", lambda last=f"noise-{number}-{churn - 1}": last in rules(place))
        assert ("a-closing" in rules(place)) == closed
        wait_for("the way", lambda closed=closed: ping(web.network, db.addresses[0]) != closed)
        place.start_server()
        wait_for("sync", lambda: place.report("h1").get("in_sync"))


@pytest.fixture
def small_disk(place: Site) -> Iterator[Path]:
    """For the agent's state."""
    state(place).mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", "size=512k", "muslin-small", str(state(place)))
    yield state(place)
    run("umount", "-l", str(state(place)))


def test_beside_a_full_disk_an_agent_goes_on_and_its_successor_opens_nothing(place: Site, small_disk: Path) -> None:
    place.start_agent("h1")
    web, db = place.guest("h1", "web"), place.guest("h1", "db", labels={"app": "db"})
    wait_for("the base on disk", lambda: (small_disk / "snapshot.json").exists())
    run("sh", "-c", f"cat /dev/zero > {small_disk}/filler 2>/dev/null; true")

    close(place, web, db)

    wait_for("its word", lambda: place.words("agent-h1").count("snapshot_not_written"))
    assert (place.run / "agents" / "h1.behind").exists()
    kill_both(place)
    place.start_agent("h1", healthy=False)
    wait_for("its word", lambda: place.words("agent-h1").count("snapshot_not_used"))
    assert not ping(web.network, db.addresses[0]), "the kernel is as it was"
    (small_disk / "filler").unlink()
    place.start_server()
    wait_for("sync", lambda: place.report("h1").get("in_sync"))
    assert place.words("agent-h1").count("snapshot_not_written") == 1
    remembers_it_alone(place, web, db)


def test_beside_a_file_system_that_became_read_only_an_agent_goes_on(place: Site, small_disk: Path) -> None:
    place.start_agent("h1")
    web, db = place.guest("h1", "web"), place.guest("h1", "db", labels={"app": "db"})
    wait_for("the base on disk", lambda: (small_disk / "snapshot.json").exists())
    inside = ("nsenter", "-m", "-t", str(place.pid("agent-h1")))  # `ip netns exec` gave it mounts of its own
    run(*inside, "mount", "--bind", str(small_disk), str(small_disk))
    run(*inside, "mount", "-o", "remount,bind,ro", str(small_disk))

    close(place, web, db)

    wait_for("its word", lambda: place.words("agent-h1").count("snapshot_not_written"))
    run(*inside, "umount", str(small_disk))
    wait_for("its word", lambda: place.words("agent-h1").count("snapshot_written_again"), 30)
    assert place.words("agent-h1").count("snapshot_not_written") == 1
    remembers_it_alone(place, web, db)


def close(place: Site, web: Workload, db: Workload) -> None:
    """By more words than have room in what is left of a page."""
    for number in range(20):
        place.declare(deny_to(f"noise-{number}", "app == 'db'", protocol="UDP"))
    place.declare(deny_to("a-closing", "app == 'db'", protocol="ICMP"))
    wait_for("the policy", lambda: not ping(web.network, db.addresses[0]))


def remembers_it_alone(place: Site, web: Workload, db: Workload) -> None:
    kill_both(place)
    forget(place)
    start_alone(place)
    wait_for("the policy", lambda: "a-closing" in rules(place))
    assert not ping(web.network, db.addresses[0])


def test_after_an_upgrade_what_the_former_version_left_is_used(place: Site) -> None:
    """One line without an end, and with the routes that it had worked out."""
    place.start_agent("h1")
    web, db = place.guest("h1", "web"), place.guest("h1", "db", labels={"app": "db"})
    place.declare(deny_to("no-udp", "app == 'db'", protocol="UDP"))
    wait_for("the policy", lambda: "no-udp" in rules(place))
    kill_both(place)
    graph, found = Graph(), Snapshot(state(place), place.run / "nothing").load()
    assert found is not None
    graph.update(found)
    graph.flush()
    intent = graph.intent
    former = Delta(revision=intent.revision, snapshot=True, sets=intent.sets, policies=intent.policies,
                   groups=intent.groups, endpoints=intent.endpoints, routes=intent.routes,
                   neighbours=intent.neighbours, bgp=intent.bgp, settings=intent.settings)  # type: ignore[arg-type]
    (state(place) / "snapshot.json").write_bytes(msgspec.json.encode(former))
    forget(place)

    start_alone(place)

    wait_for("the old state", lambda: ping(web.network, db.addresses[0]))
    assert "no-udp" in rules(place)
    place.start_server()
    wait_for("sync", lambda: place.report("h1").get("in_sync"))
    place.declare(deny_to("no-tcp", "app == 'db'", protocol="TCP"))
    wait_for("the policy", lambda: "no-tcp" in rules(place))
    kill_both(place)
    forget(place)
    start_alone(place)
    wait_for("both", lambda: {"no-tcp", "no-udp"} <= set(rules(place).replace("/", " ").replace(":", " ").split()))
