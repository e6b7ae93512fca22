"""The tables of a SQLite store, the views for a person with the sqlite3 shell, and how to tell that a file is ours.

Records and events are kept as JSON text, so `json_extract` works on them everywhere. Knows SQL and the names of the
fields; must not know how rows become records or who writes them.
"""

import sqlite3
from pathlib import Path

from longshore.model.errors import Refused
from longshore.model.lifecycle import ON_NODE, State

VERSION = 1
"""Of the tables. A store refuses a newer one; an older one is to be migrated when there is one."""

APPLICATION_ID = 0x4C4E4753
"""`LNGS`; in the file's header, where file(1) and other programs find it."""

REVISION_MIN = "revision_min"
"""Key in meta. The store's revision is never less, and no reader can resume before it: restore() sets it, so that
marks from the past that was given up are not taken for marks of the new one."""

ADVICE = "Restore a backup, or move the file away to begin with an empty cluster"

# With rowids: in a table without, a row past a quarter of a page spills over, which doubled the file (measured with
# 1500-byte bodies: 157 MB against 71 MB). `number` is also the small integer by which a person may call a record.
TABLES = f"""
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE objects (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, id)
);
CREATE TABLE log (
    revision INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (revision, position)
);
INSERT INTO meta VALUES ('schema', '{VERSION}');
PRAGMA application_id = {APPLICATION_ID};
"""  # noqa: S608  (constants of ours)

_LIVE_ON_NODE = ", ".join(f"'{state}'" for state in ON_NODE)

VIEWS = {
    "nodes": f"""CREATE VIEW nodes AS
WITH reserved AS (
    SELECT json_extract(t.body, '$.node') AS node,
        count(*) AS tasks,
        sum(json_extract(r.body, '$.spec.resources.cpu')) AS cpu,
        sum(json_extract(r.body, '$.spec.resources.memory')) AS memory
    FROM objects AS t
    LEFT JOIN objects AS r ON r.kind = 'release'
        AND r.id = json_extract(t.body, '$.service') || '@' || json_extract(t.body, '$.release')
    WHERE t.kind = 'task' AND json_extract(t.body, '$.state') IN ({_LIVE_ON_NODE})
    GROUP BY 1
)
SELECT n.number AS id,
    n.id AS nodeName,
    json_extract(n.body, '$.address') AS nodeIpaddr,
    json_extract(n.body, '$.capacity.memory') AS nodeCapacity,
    json_extract(n.body, '$.capacity.memory') - coalesce(reserved.memory, 0) AS nodeAvailCapacity,
    CASE json_extract(n.body, '$.status') WHEN 'ready' THEN 'online' ELSE 'offline' END AS status,
    n.id AS name,
    json_extract(n.body, '$.address') AS address,
    json_extract(n.body, '$.availability') AS availability,
    json_extract(n.body, '$.labels') AS labels,
    json_extract(n.body, '$.taints') AS taints,
    json_extract(n.body, '$.resources') AS resources,
    json_extract(n.body, '$.capacity.cpu') AS cpu,
    json_extract(n.body, '$.capacity.cpu') - coalesce(reserved.cpu, 0) AS cpu_available,
    json_extract(n.body, '$.capacity.memory') AS memory,
    json_extract(n.body, '$.capacity.memory') - coalesce(reserved.memory, 0) AS memory_available,
    json_extract(n.body, '$.capacity.disk') AS disk,
    coalesce(reserved.tasks, 0) AS tasks,
    json_extract(n.body, '$.engine.name') || ' ' || json_extract(n.body, '$.engine.version') AS engine,
    json_extract(n.body, '$.worker_version') AS worker_version,
    json_extract(n.body, '$.reason') AS reason,
    json_extract(n.body, '$.message') AS message,
    datetime(json_extract(n.body, '$.joined_at'), 'unixepoch') AS joined_at,
    datetime(json_extract(n.body, '$.changed_at'), 'unixepoch') AS changed_at,
    n.revision AS revision
FROM objects AS n
LEFT JOIN reserved ON reserved.node = n.id
WHERE n.kind = 'node'
ORDER BY n.id""",  # noqa: S608
    "tasks": """CREATE VIEW tasks AS
SELECT t.id AS id,
    json_extract(t.body, '$.service') AS service,
    json_extract(t.body, '$.slot') AS slot,
    json_extract(t.body, '$.generation') AS generation,
    json_extract(t.body, '$.release') AS release,
    json_extract(r.body, '$.spec.image') AS image,
    json_extract(t.body, '$.node') AS node,
    json_extract(n.body, '$.address') AS address,
    json_extract(t.body, '$.state') AS state,
    json_extract(t.body, '$.wanted') AS wanted,
    json_extract(t.body, '$.ready') AS ready,
    json_extract(t.body, '$.ports') AS ports,
    json_extract(t.body, '$.devices') AS devices,
    json_extract(t.body, '$.container_id') AS container_id,
    json_extract(t.body, '$.exit_code') AS exit_code,
    json_extract(t.body, '$.reason') AS reason,
    json_extract(t.body, '$.message') AS message,
    datetime(json_extract(t.body, '$.created_at'), 'unixepoch') AS created_at,
    datetime(json_extract(t.body, '$.started_at'), 'unixepoch') AS started_at,
    datetime(json_extract(t.body, '$.finished_at'), 'unixepoch') AS finished_at,
    t.revision AS revision
FROM objects AS t
LEFT JOIN objects AS r ON r.kind = 'release'
    AND r.id = json_extract(t.body, '$.service') || '@' || json_extract(t.body, '$.release')
LEFT JOIN objects AS n ON n.kind = 'node' AND n.id = json_extract(t.body, '$.node')
WHERE t.kind = 'task'
ORDER BY service, slot, generation""",
    "services": f"""CREATE VIEW services AS
WITH counted AS (
    SELECT json_extract(body, '$.service') AS service,
        sum(json_extract(body, '$.state') = '{State.RUNNING}') AS running,
        sum(json_extract(body, '$.ready')) AS ready,
        sum(json_extract(body, '$.state') = '{State.NEW}') AS pending,
        count(DISTINCT nullif(json_extract(body, '$.pinned'), '')) AS pinned
    FROM objects
    WHERE kind = 'task' AND json_extract(body, '$.wanted') = 'running'
        AND json_extract(body, '$.state') IN ('{State.NEW}', {_LIVE_ON_NODE})
    GROUP BY 1
)
SELECT s.number AS id,
    s.id AS name,
    json_extract(s.body, '$.app') AS app,
    json_extract(s.body, '$.spec.image') AS image,
    json_extract(s.body, '$.spec.mode') AS mode,
    CASE json_extract(s.body, '$.spec.mode')
        WHEN 'global' THEN coalesce(counted.pinned, 0)
        ELSE json_extract(s.body, '$.spec.replicas')
    END AS replicas,
    coalesce(counted.running, 0) AS running,
    coalesce(counted.ready, 0) AS ready,
    coalesce(counted.pending, 0) AS pending,
    json_extract(s.body, '$.release') AS release,
    json_extract(s.body, '$.spec.resources.cpu') AS cpu,
    json_extract(s.body, '$.spec.resources.memory') AS memory,
    datetime(json_extract(s.body, '$.created_at'), 'unixepoch') AS created_at,
    datetime(json_extract(s.body, '$.updated_at'), 'unixepoch') AS updated_at,
    s.revision AS revision
FROM objects AS s
LEFT JOIN counted ON counted.service = s.id
WHERE s.kind = 'service'
ORDER BY s.id""",  # noqa: S608
    "containers": f"""CREATE VIEW containers AS
SELECT t.image AS Image,
    coalesce(s.replicas, 0) AS RequiredNumOfReplicas,
    count(*) FILTER (WHERE t.state = '{State.RUNNING}') OVER (PARTITION BY t.service) AS actualNumOfReplicas,
    t.node AS nodeName,
    t.address AS nodeIpaddr,
    t.id AS task,
    t.service AS service,
    coalesce(s.app, '') AS app,
    t.container_id AS container_id,
    t.state AS state,
    t.ready AS ready,
    t.ports AS ports,
    t.started_at AS started_at
FROM tasks AS t
LEFT JOIN services AS s ON s.name = t.service
WHERE t.state IN ('{State.STARTING}', '{State.RUNNING}')""",  # noqa: S608
}


def identify(path: Path) -> None:
    """Raise Refused unless the file at `path` looks like a Longshore store.

    Reads the header without SQLite, which would begin to repair another program's database. Must not be called while
    this process has the file open through SQLite: closing any other handle on it drops SQLite's locks (POSIX).
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    if not header:
        raise Refused(f"{path} is empty. {ADVICE}")
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise Refused(f"{path} is not a database, or its beginning is damaged. {ADVICE}")
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise Refused(f"{path} is the database of another program; give Longshore a file of its own")


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raise Refused unless this program knows the file's tables."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None or not str(row[0]).isdecimal():
        raise Refused(f"{path} does not say which version its tables have. {ADVICE}")
    if int(row[0]) > VERSION:
        raise Refused(
            f"{path} was written by a newer Longshore (tables of version {row[0]}; this one knows {VERSION}): "
            "run that version, or restore a backup made by this one"
        )
    if int(row[0]) < VERSION:
        raise Refused(f"{path} has tables of version {row[0]}, and this Longshore begins at {VERSION}")


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Raise Refused if a page is damaged, which would else show at the first commit that needs it, or at the first
    start without the record that was in it. At every start: it takes 60 ms for 100,000 rows."""
    (first,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if first != "ok":
        raise Refused(f"{path} is damaged: {first}. {ADVICE}")


def refresh_views(connection: sqlite3.Connection) -> None:
    """Make the views this program's; inside the caller's transaction. They hold nothing, so they have no version."""
    there = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view'").fetchall())
    for name, sql in VIEWS.items():
        if there.get(name) != sql:
            connection.execute(f"DROP VIEW IF EXISTS {name}")
            connection.execute(sql)
