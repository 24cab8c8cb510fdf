"""What goes with an object when it is deleted.

A workload's addresses are assigned under a handle of its endpoint's name. `muslin workload rm` gives them back itself,
after its host has let go of them. Whoever deletes the WorkloadEndpoint by kubectl knows nothing of handles: without
this, the addresses would be held for ever by nobody. In Kubernetes' words they are its dependents, so
`propagationPolicy: Orphan` keeps them.

Of a pool the empty blocks go, which its hosts would own and announce for ever.

Of an endpoint only the addresses that it had, and only while its handle holds them: an addition of the same name may be
under way, with new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from muslin.errors import Invalid, MuslinError
from muslin.ipam.records import Taken
from muslin.model.names import address_handle
from muslin.server.addresses import Addresses, Unwanted
from muslin.server.refusals import Json
from muslin.server.served import Served

log = structlog.get_logger()


def keeps(options: Json, query: str | None) -> bool:
    """Does somebody who deletes with these options want the rest to stay?"""
    return "Orphan" in (options.get("propagationPolicy"), query)


@dataclass(frozen=True, slots=True)
class Released:
    """Warnings: the object is gone whatever comes of this."""

    handle: str = ""
    addresses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def report(self) -> None:
        """Once it is in the store: on a draft that is planned anew it has not happened yet."""
        for address in self.addresses:
            log.info("address_released", address=address, handle=self.handle)


async def release(addresses: Addresses, served: Served, obj: Json) -> Released:
    """Of an object that is gone."""
    if served.kind.name == "IPPool":
        return await _leave(addresses)
    if served.kind.name != "WorkloadEndpoint":
        return Released()
    handle = address_handle(obj["metadata"]["namespace"], obj["metadata"]["name"])
    spec = obj.get("spec")
    given = spec.get("ipNetworks") if isinstance(spec, dict) else None
    gone, warnings = [], []
    for address in map(str, given if isinstance(given, list) else ()):
        try:
            if await addresses.release(Unwanted(handle=handle, addresses=(address,))):
                gone.append(address)
        except (Taken, Invalid):
            continue  # not ours to give back
        except MuslinError as error:
            warnings.append(f"address {address} could not be released ({error}): muslin ipam release --ip {address}")
    return Released(handle, tuple(gone), tuple(warnings))


async def _leave(addresses: Addresses) -> Released:
    try:
        await addresses.leave()
    except MuslinError as error:
        return Released(warnings=(f"blocks that it leaves behind could not be given up ({error}): muslin ipam check",))
    return Released()
