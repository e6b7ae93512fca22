"""The support matrix as Markdown: `python -m longshore.compose.matrix > docs/compose.md`.

Knows the page's prose and prints the loader's own `table`, so the page cannot promise what the loader does not do. A
test holds the page in the repository equal to what this prints.
"""

import sys

from longshore.compose.table import LEVELS, Level

PROSE = """\
# Compose files

An app is described by a [Compose file](https://compose-spec.io). This page lists every key of the specification.
A key is either **honoured or refused**: nothing in the file is ignored in silence. A refusal names the file, the line,
the key and what to write instead, and all refusals of a file come at once:

```
compose.yaml:4: services.web.build: not supported: images are not built here; build and push it, then name it in image
compose.yaml:9: services.web.ports[1]: 'http' is no port number; write "8080:80", "80" to have the host port chosen, …
compose.yaml:12: services.web.enviroment: unknown key; did you mean environment?
```

## What differs from Docker Compose

Compose runs containers on one machine, a cluster on many. These differences follow from that, or were chosen because
the other way hides a mistake.

- **Ports** are opened on the node that the task runs on. Without a host port (`"80"`) the cluster chooses one from its
  range, so several tasks of a service fit on one node; with one (`"8080:80"`) there is room for one task per node.
- **Paths** of bind mounts are paths on the node. Relative ones and `~` are made absolute by your own machine's file
  and `HOME`. A path that a node does not have is not made there: the task fails and says so.
- **Volumes** live on the node of the task that first used them, and its slot stays there: see
  [volumes](operations.md#volumes). A volume without a name is refused, as each task would get a new one. An `external`
  volume that a node does not have is made there, empty.
- **Variables** that are unset and have no default are an error, not an empty string. This holds for `.env` and
  `env_file` too; quote a value with `'…'` there, or write `$$` in the Compose file, to mean a dollar sign. A value
  that begins with `#` there is quoted too: Compose's versions do not agree on whether it is a comment.
- **Twice** is once too often: a key given twice, or two keys that say the same thing differently (`cpus` and
  `deploy.resources.limits.cpus`, `restart` and `deploy.restart_policy`, `scale` and `deploy.replicas`), are refused.
- **Labels** under `deploy` are merged with those of the service: both end up on the containers.
- **Defaults**: a task is restarted (`restart: always`; jobs only on failure), cannot gain privileges
  (`no-new-privileges`), may have 512 processes, and keeps three log files of 10 MiB.
- **Values** are read as YAML 1.2: `on`, `no` and `22:22` are texts, `017` is 17. Environment variables and labels keep
  numbers as they are written (`1.10` stays `1.10`); where a text is expected, a bare `true` must be quoted.
- **Names**: a service has its own name in the whole cluster, without the app's in front. The app's name is the
  first of `--project`, `COMPOSE_PROJECT_NAME`, `name` in the file and the folder's name; volumes are named after it.
- **Order**: `depends_on` holds back the start of a new release, on whichever nodes, and nothing else: what runs is not
  stopped, and is replaced as ever, when what it depends on breaks; removals are in no order. A service without any
  check is healthy as soon as it runs. What completes is a job (`deploy.mode: replicated-job`).
- **Files**: only the named file and the `.env` beside it are read; there are no override files. A file may be 1 MiB
  long and have 100,000 values with its aliases written out.

Durations are `500ms`, `10s`, `1m30s`, `1h`. Sizes are `64m`, `1.5gb`, `128MiB` or bytes; every unit is a power of 1024.
Keys that start with `x-` are your own and are not read, wherever the specification allows them; only `x-longshore` of a
service is ours. Anchors, aliases and merge keys (`<<`) work.

## Every key

This part is generated from the loader's own table. To change it, change `src/longshore/compose/table.py` and run
`python -m longshore.compose.matrix > docs/compose.md`.
"""


def page() -> str:
    return PROSE + "".join(_section(level) for level in LEVELS)


def _section(level: Level) -> str:
    rows = [f"| `{key}` | yes | {_cell(note)} |" for key, note in level.supported.items()]
    rows += [f"| `{key}` | no | {_cell(reason)} |" for key, reason in sorted(level.refused.items())]
    if level.extensible:
        rows.append("| `x-…` | not read | your own |")
    title = f"`{level.path}`" if level.path else "Top level"
    return "\n".join(["", f"### {title}", "", "| key | supported | note |", "|---|---|---|", *rows, ""])


def _cell(text: str) -> str:
    # A bar ends a cell even between backticks.
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
