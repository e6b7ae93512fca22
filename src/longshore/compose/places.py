"""The keys of Compose files that say where tasks go and what devices they get: the part of `table` about places.

As there: names and sentences, and not how a value is read.
"""

from longshore.compose.level import Level

NO_CHOICE = "which devices a task gets is the cluster's to choose"
ENGINE_DEFAULT = "the engine's default applies"

PLACEMENT_OWN = Level(
    path="services.*.x-longshore.placement",
    supported={
        "prefers": "constraints that nodes are liked for, with weights",
        "tolerations": "taints of nodes that its tasks do not mind",
        "affinity": "tasks that its own are to be near, by their service or its labels",
        "anti_affinity": "the same to be apart from; itself to keep its own tasks apart",
        "spread": "labels over which its tasks are spread evenly",
        "policy": "how to choose among nodes with room: a policy's name or weights, such as `spread=2,image=1`; "
        "without it the cluster's",
    },
    extensible=False,
)

PREFERS = Level(
    path="services.*.x-longshore.placement.prefers[]",
    supported={"constraint": "as in `deploy.placement.constraints`", "weight": "1 to 100; without it 1"},
    extensible=False,
)

TOLERATION = Level(
    path="services.*.x-longshore.placement.tolerations[]",
    supported={
        "key": "the taint's; without it, and with `Exists`, every taint",
        "operator": "`Equal`, as without it, or `Exists`, whatever the value",
        "value": "the taint's",
        "effect": "`NoSchedule`, `PreferNoSchedule` or `NoExecute`; without it any",
    },
    extensible=False,
)

AFFINITY = Level(
    path="services.*.x-longshore.placement.affinity[], .anti_affinity[]",
    supported={
        "service": "its name; an affinity has this or `selector`",
        "selector": "what labels of services must be, this one's too: `KEY==A`, `KEY in (A, B)`, `!KEY` and the like",
        "over": "`node.name`, as without it: on the same node; `node.labels.KEY`: on nodes with an equal label",
        "weight": "1 to 100; without it required",
    },
    extensible=False,
)

SPREAD = Level(
    path="services.*.x-longshore.placement.spread[]",
    supported={
        "over": "`node.labels.KEY`: nodes with an equal label are one; `node.name`: each is its own",
        "skew_max": "required: by how many tasks one may exceed the one that has fewest; without it only preferred",
        "weight": "1 to 100; without it 1",
    },
    extensible=False,
)

DEVICE = Level(
    path="services.*.deploy.resources.reservations.devices[]",
    supported={
        "capabilities": "one: the resource that nodes have, such as `[gpu]`",
        "count": "how many; without it 1",
    },
    refused={"device_ids": NO_CHOICE, "driver": ENGINE_DEFAULT, "options": ENGINE_DEFAULT},
)

GENERIC = Level(
    path="services.*.deploy.resources.reservations.generic_resources[]",
    supported={"discrete_resource_spec": "what, and how many"},
)

GENERIC_SPEC = Level(
    path="services.*.deploy.resources.reservations.generic_resources[].discrete_resource_spec",
    supported={"kind": "the resource's name, in lower case", "value": "how many"},
)

PLACEMENT = Level(
    path="services.*.deploy.placement",
    supported={
        "constraints": "about `node.hostname` (the node's name; also `node.name`), `node.labels.KEY`, "
        "`node.platform.os`, `node.platform.arch` or `engine.labels.KEY`: with `==`, `!=`, `in (A, B)`, "
        "`notin (A, B)`, `>`, `>=`, `<`, `<=`, or a label's `KEY` or `!KEY` alone; all must hold",
        "preferences": "even spread, preferred and not required; several count alike",
        "max_replicas_per_node": "tasks of the service that one node may have; `0` is no limit",
    },
)

PREFERENCE = Level(
    path="services.*.deploy.placement.preferences[]",
    supported={"spread": "`node.labels.KEY`: nodes with an equal label are one; those without it are one, too"},
)
