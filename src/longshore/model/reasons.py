"""Why things happen: the closed list of reasons, in words a user can read.

Every change of a record, every action on an engine and every refusal carries one. The list is closed so that stories
can be searched and translated; what is particular (names, numbers, the engine's own words) goes into the message.
"""

from enum import StrEnum


class Reason(StrEnum):
    # the user
    CREATED = "created"
    UPDATED = "updated"
    SCALED = "scaled"
    RESTART_ASKED = "restart asked"
    REMOVED = "removed"
    POSTED = "posted"
    STOP_ASKED = "stop asked"
    NO_IMAGE = "no image to run"
    NODE_REGISTERED = "registered by hand"
    NODE_CHANGED = "node changed"
    NODE_REMOVED = "node removed"
    TOKEN_CREATED = "token created"
    TOKEN_REVOKED = "token revoked"
    TOKEN_USED = "token used"
    FIRST_START = "first start"
    # services and rollout
    SLOT_EMPTY = "slot was empty"
    REPLACES = "replaces a task that ended"
    SCALED_DOWN = "more tasks than wanted"
    SERVICE_REMOVED = "service removed"
    OUTDATED = "an older release"
    RELIEVED = "another took over"
    STANDS_BY = "stands by to take over"
    ROLLOUT_DONE = "rollout done"
    ROLLOUT_FAILED = "rollout failed"
    ROLLOUT_PAUSED = "rollout paused"
    ROLLOUT_RESUMED = "rollout resumed"
    ROLLED_BACK = "rolled back"
    SUPERSEDED = "another task has its slot"
    NODE_NOT_ELIGIBLE = "node is no longer eligible"
    HISTORY_FULL = "history full"
    UNUSED = "nothing uses it any more"
    # placement
    PLACED = "placed"
    NO_NODE = "no node fits"
    # nodes
    NODE_JOINED = "node joined"
    NODE_RETURNED = "node returned"
    NODE_SILENT = "node silent"
    NODE_HELD = "node silent, evictions held"
    NODE_DRAINED = "node drained"
    NODE_LOST = "node lost"
    NODE_AWAITED = "node silent, task not given up yet"
    # the worker's reports
    ACCEPTED = "accepted by the worker"
    PULLING = "getting the image"
    STARTING = "starting"
    STARTED = "started"
    HEALTHY = "check passes"
    UNHEALTHY = "check fails"
    STOPPED = "stopped as wanted"
    FINISHED = "finished"
    EXITED = "exited"
    OOM_KILLED = "killed: out of memory"
    FENCED = "no manager in reach"
    CONTAINER_GONE = "container disappeared"
    CONTAINER_REMOVED = "container removed"
    IMAGE_MISSING = "image not available"
    PORT_TAKEN = "host port taken"
    START_REFUSED = "engine refused to start it"
