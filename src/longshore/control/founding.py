"""What makes a store a cluster: the one record that says which, made at its first start."""

import secrets

from longshore.model.changes import Change
from longshore.model.lifecycle import Owner
from longshore.model.objects import Cluster, Kind
from longshore.model.reasons import Reason
from longshore.ports import Clock, Store


async def found_cluster(store: Store, clock: Clock) -> str:
    """The id of the cluster that this store is; it becomes one if it is none yet."""
    known = store.read().cluster
    if known is not None:
        return known.id
    made = Cluster(id=secrets.token_hex(8), created_at=clock.now())
    await store.commit(
        [Change(kind=Kind.CLUSTER, id=made.id, before=0, after=made, by=Owner.MANAGER, reason=Reason.FIRST_START)]
    )
    return made.id
