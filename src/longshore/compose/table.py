"""Every key of the Compose Specification, level by level: supported with a note, or refused with the reason.

The one list: the loader reads a mapping only through its `Level` (`page.Value.fields`), and `matrix` prints the same
tables as docs/compose.md, so what is documented is what is loaded. Knows names and sentences. Must not know how a value
is read. The names follow schema/compose-spec.json of the specification (2026).

A reason completes the sentence "not supported: …" and says what to do instead, where there is something.
"""

from longshore.compose.level import Level as Level
from longshore.compose.level import advice as advice
from longshore.compose.places import (
    AFFINITY,
    DEVICE,
    ENGINE_DEFAULT,
    GENERIC,
    GENERIC_SPEC,
    PLACEMENT,
    PLACEMENT_OWN,
    PREFERENCE,
    PREFERS,
    SPREAD,
    TOLERATION,
)

NO_NETWORKS = "the cluster has no networks of its own yet; services reach each other by published ports"
NO_SECRETS = "the cluster keeps none yet; use environment, env_file or a bind mount"
NO_BUILD = "images are not built here; build and push it, then name it in image"
NO_HOST_ACCESS = "tasks get no access to their machine beyond volumes and ports"
NO_FINE_LIMITS = "limits are cpus, memory and pids only"
NO_ROLLOUT = "a rollback goes by the rules of update_config"

TOP = Level(
    path="",
    supported={
        "services": "at least one",
        "volumes": "named volumes; each lives on the node of the task that first used it, and its slot stays there",
        "name": "the app's name; `--project` and `COMPOSE_PROJECT_NAME` come first, the folder's name last",
        "version": "obsolete in the specification, which gives it no meaning; accepted",
    },
    refused={
        "networks": NO_NETWORKS,
        "secrets": NO_SECRETS,
        "configs": NO_SECRETS,
        "include": "one file describes an app; paste the included file",
        "models": "language models are not run by the cluster",
    },
)

VOLUME = Level(
    path="volumes.*",
    supported={
        "name": "the engine's name for it; without one it is `PROJECT_KEY`",
        "external": "`true`: made by someone else, so its name gets no prefix. Whether it is there is not checked",
        "driver": "`local` only",
    },
    refused={
        "driver_opts": "volumes are plain local ones; mount the storage on the nodes and use a bind mount",
        "labels": "volumes carry no labels",
    },
)

SERVICE = Level(
    path="services.*",
    supported={
        "image": "required",
        "command": "list, or text that is split as a shell would; no shell runs it",
        "entrypoint": "as `command`",
        "environment": "map or list; a key without a value is taken from your environment, or dropped",
        "env_file": "path, list of paths, or objects; relative to the Compose file; `environment` wins",
        "ports": "short and long syntax; without a host port the cluster chooses one",
        "volumes": "short and long syntax: named volumes, bind mounts, tmpfs",
        "tmpfs": "path or list of paths; option `size` only",
        "user": "name or number, with a group after a colon if wanted",
        "working_dir": "absolute path in the container",
        "hostname": "the same for every task; without it each has its task's name",
        "labels": "map or list; set on the containers",
        "healthcheck": "run by the engine; a task with one is ready only while it passes",
        "restart": "`no`, `always`, `unless-stopped` (as `always`), `on-failure[:N]`; default: always",
        "stop_grace_period": "how long a stopped task may take; without it 10s",
        "stop_signal": "without it the image's",
        "read_only": "the container's own file system",
        "cap_add": "list",
        "cap_drop": "list",
        "security_opt": "`no-new-privileges[:true|:false]` only; here it is on unless you say false",
        "pull_policy": "`always`, `missing`, `if_not_present`, `never`",
        "platform": "`linux/amd64`: nodes of this system and processor only",
        "pids_limit": "`-1` is no limit; without it 512",
        "mem_limit": "as `deploy.resources.limits.memory`",
        "mem_reservation": "as `deploy.resources.reservations.memory`",
        "cpus": "as `deploy.resources.limits.cpus`",
        "logging": "`json-file`, the size and number of its files",
        "deploy": "how many, where and with what",
        "scale": "as `deploy.replicas`",
        "depends_on": "list, or map with conditions; orders starts, also of a new release, not removals",
        "x-longshore": "what Compose has no key for; other `x-…` keys are your own",
    },
    refused={
        "annotations": "use labels",
        "attach": "use `longshore logs`",
        "blkio_config": NO_FINE_LIMITS,
        "build": NO_BUILD,
        "cgroup": NO_HOST_ACCESS,
        "cgroup_parent": NO_HOST_ACCESS,
        "configs": NO_SECRETS,
        "container_name": "a service has many containers; the cluster names them after their tasks",
        "cpu_count": "use cpus",
        "cpu_percent": "use cpus",
        "cpu_period": "use cpus",
        "cpu_quota": "use cpus",
        "cpu_rt_period": NO_FINE_LIMITS,
        "cpu_rt_runtime": NO_FINE_LIMITS,
        "cpu_shares": "use cpus",
        "cpuset": NO_FINE_LIMITS,
        "credential_spec": "for Windows containers only",
        "develop": "for development on one machine; use Compose for that",
        "device_cgroup_rules": NO_HOST_ACCESS,
        "devices": NO_HOST_ACCESS,
        "dns": ENGINE_DEFAULT,
        "dns_opt": ENGINE_DEFAULT,
        "dns_search": ENGINE_DEFAULT,
        "domainname": "use hostname",
        "expose": "it publishes nothing; list the port in ports",
        "extends": "one file describes an app; use YAML anchors and `<<`",
        "external_links": NO_NETWORKS,
        "extra_hosts": "tasks see the names that their node's DNS knows",
        "gpus": "use deploy.resources.reservations.devices",
        "group_add": "use user with a group, such as `1000:1000`",
        "init": "put an init such as tini into the image",
        "ipc": NO_HOST_ACCESS,
        "isolation": "for Windows containers only",
        "label_file": "use labels",
        "links": NO_NETWORKS,
        "mac_address": NO_NETWORKS,
        "mem_swappiness": NO_FINE_LIMITS,
        "memswap_limit": NO_FINE_LIMITS,
        "models": "language models are not run by the cluster",
        "network_mode": NO_NETWORKS,
        "networks": NO_NETWORKS,
        "oom_kill_disable": NO_FINE_LIMITS,
        "oom_score_adj": NO_FINE_LIMITS,
        "pid": NO_HOST_ACCESS,
        "post_start": "let the image's entrypoint do it",
        "pre_stop": "let the program act on its stop signal",
        "privileged": NO_HOST_ACCESS,
        "profiles": "every service of the file is run; split the file",
        "provider": "services are containers",
        "pull_refresh_after": "use pull_policy always",
        "runtime": ENGINE_DEFAULT,
        "secrets": NO_SECRETS,
        "shm_size": "use a tmpfs volume with the target /dev/shm and a size",
        "stdin_open": "tasks have no terminal",
        "storage_opt": ENGINE_DEFAULT,
        "sysctls": NO_HOST_ACCESS,
        "tty": "tasks have no terminal",
        "ulimits": NO_FINE_LIMITS,
        "use_api_socket": NO_HOST_ACCESS,
        "userns_mode": NO_HOST_ACCESS,
        "uts": NO_HOST_ACCESS,
        "volumes_from": "name the volumes under volumes of each service",
    },
)

DEPENDENCY = Level(
    path="services.*.depends_on.*",
    supported={
        "condition": "`service_started`, as without it; `service_healthy`: all its tasks are ready; "
        "`service_completed_successfully`: of a job",
        "required": "`false`: the file need not have that service",
        "restart": "`false` only; what runs is not restarted for what it depends on",
    },
)

EXTENSION = Level(
    path="services.*.x-longshore",
    supported={
        "liveness": "asked by the worker; a container that fails it is stopped, and its task has failed",
        "readiness": "asked by the worker; a task is ready only while it passes",
        "single_writer": "`true`: of each slot one task runs in the whole cluster, whatever fails; without it `false`",
        "rebalance": "`true`: tasks move by themselves when a node joins or returns; without it `false`",
        "placement": "rules about places that Compose has no word for",
        "priority": "whole number, -1000000 to 1000000; without it 0. Where there is no room, a higher one displaces",
        "preemption": "`PreemptLowerPriority`, as without it; `Never`; or `PreemptBelowMinimum`, also what the other "
        "service cannot spare",
        "shares": "parts of single devices, such as `gpu: 0.5`: set aside, not enforced",
    },
    extensible=False,
)

PROBE = Level(
    path="services.*.x-longshore.liveness, .readiness",
    supported={
        "http": "a GET; a probe has this, `tcp` or `command`",
        "tcp": "a connection",
        "command": "list of the program and its arguments, run in the container; passes with exit code 0",
        "interval": "without it 10s",
        "timeout": "without it 5s",
        "retries": "failures in a row that make it fail; without it 3",
        "successes": "answers in a row that make it pass; without it 1, and of a liveness always",
        "start_period": "failures in it do not count; without it 0s",
    },
    extensible=False,
)

PROBE_HTTP = Level(
    path="services.*.x-longshore.*.http",
    supported={
        "port": "required; the container's, published or not",
        "path": "without it `/`",
        "headers": "map",
        "accepts": "list of status codes that pass; without it 200 to 399",
    },
    extensible=False,
)

PROBE_TCP = Level(
    path="services.*.x-longshore.*.tcp",
    supported={"port": "required; the container's, published or not"},
    extensible=False,
)

ENV_FILE = Level(
    path="services.*.env_file[]",
    supported={"path": "required", "required": "`false`: the file may be missing"},
    refused={"format": "files are KEY=VALUE lines as in Compose"},
    extensible=False,
)

PORT = Level(
    path="services.*.ports[]",
    supported={
        "target": "required; the container's port",
        "published": "the node's port; without it, or with 0, the cluster chooses one",
        "protocol": "`tcp` or `udp`",
        "host_ip": "address of the node to listen on",
        "mode": "`host`, or without it: on the task's node; `ingress`: at `published`, else `target`, of every entry",
        "app_protocol": "with `mode: ingress`: `http`, or `tcp` as without it",
    },
    refused={"name": "ports carry no names"},
)

MOUNT = Level(
    path="services.*.volumes[]",
    supported={
        "type": "required; `volume`, `bind` or `tmpfs`",
        "source": "key of a volume at the top level, or the path to bind; none for tmpfs",
        "target": "required; absolute",
        "read_only": "`true` or `false`",
        "tmpfs": "for tmpfs only",
        "bind": "for bind mounts only",
        "volume": "for volumes only; may be there, but empty",
    },
    refused={"consistency": "for Docker Desktop only", "image": "images are not mounted; copy the files into yours"},
)

MOUNT_TMPFS = Level(
    path="services.*.volumes[].tmpfs",
    supported={"size": "size, or number of bytes"},
    refused={"mode": ENGINE_DEFAULT},
)

MOUNT_BIND = Level(
    path="services.*.volumes[].bind",
    supported={"create_host_path": "`false` only; a path that a node does not have fails the task"},
    refused={
        "propagation": ENGINE_DEFAULT,
        "recursive": ENGINE_DEFAULT,
        "selinux": "relabel the folder on the nodes beforehand",
    },
)

MOUNT_VOLUME = Level(
    path="services.*.volumes[].volume",
    supported={},
    refused={
        "nocopy": ENGINE_DEFAULT,
        "subpath": "mount the whole volume",
        "labels": "volumes carry no labels",
    },
)

HEALTHCHECK = Level(
    path="services.*.healthcheck",
    supported={
        "test": "required unless disabled; text for the container's shell, or a list after CMD, CMD-SHELL or NONE",
        "interval": "without it 30s",
        "timeout": "without it 30s",
        "retries": "without it 3",
        "start_period": "without it 0s",
        "disable": "`true`: the image's own check is not run either",
    },
    refused={"start_interval": "checks run every interval from the start"},
)

LOGGING = Level(
    path="services.*.logging",
    supported={"driver": "`json-file` only", "options": "bounds of the log files"},
)

LOGGING_OPTIONS = Level(
    path="services.*.logging.options",
    supported={"max-size": "without it 10m", "max-file": "without it 3"},
    refused=dict.fromkeys(
        ("labels", "labels-regex", "env", "env-regex", "compress", "tag", "mode", "max-buffer-size"),
        "logs are read through the cluster, which needs them plain",
    ),
    extensible=False,
)

DEPLOY = Level(
    path="services.*.deploy",
    supported={
        "mode": "`replicated`, `global` (one task on each node), `replicated-job` (runs to completion)",
        "replicas": "without it 1; of a job: how many completions",
        "labels": "the same as the service's `labels`, with which they are merged",
        "resources": "what is set aside for a task, and the most it may use",
        "placement": "which nodes it may run on",
        "restart_policy": "with `restart` only where both say the same",
        "update_config": "how tasks give way to those of a new release, of a drained node, of a restart",
    },
    refused={
        "endpoint_mode": NO_NETWORKS,
        "rollback_config": NO_ROLLOUT,
    },
)

RESOURCES = Level(
    path="services.*.deploy.resources",
    supported={"limits": "the most a task may use", "reservations": "what is set aside for it"},
)

LIMITS = Level(
    path="services.*.deploy.resources.limits",
    supported={
        "cpus": "cores; `0` is no limit",
        "memory": "size; `0` is no limit",
        "pids": "threads and processes; `-1` is no limit; without it 512",
    },
)

RESERVATIONS = Level(
    path="services.*.deploy.resources.reservations",
    supported={
        "cpus": "set aside for each task; placement counts what is set aside and nothing else",
        "memory": "set aside for each task",
        "pids": "set aside for each task, on nodes that know how many they have room for",
        "devices": "whole devices such as GPUs, each given to one task at a time",
        "generic_resources": "what nodes were said to have, counted: `longshore node resource`",
    },
)

RESTART_POLICY = Level(
    path="services.*.deploy.restart_policy",
    supported={
        "condition": "`any`, `on-failure`, `none`",
        "delay": "least wait before each restart; the cluster's own back-off still applies",
        "max_attempts": "restarts in a row without a stable run; `0` is no limit",
        "window": "a task that ran this long was stable; without it 10s",
    },
)

UPDATE_CONFIG = Level(
    path="services.*.deploy.update_config",
    supported={
        "parallelism": "slots that are worked on side by side; `0` is all; without it 1",
        "delay": "least time between one step and the next",
        "order": "`start-first`, `stop-first`; without it start-first, unless two tasks may not run at once: a "
        "fixed host port, or a volume that is written to",
        "failure_action": "`rollback`, `pause`, `continue`; without it `rollback`",
        "monitor": "for so long all tasks have to stay ready before a release is done; without it 5s",
        "max_failure_ratio": "part of the replicas whose task may fail, rounded down; without it none",
    },
)

LEVELS = (
    TOP,
    VOLUME,
    SERVICE,
    DEPENDENCY,
    EXTENSION,
    PLACEMENT_OWN,
    PREFERS,
    TOLERATION,
    AFFINITY,
    SPREAD,
    PROBE,
    PROBE_HTTP,
    PROBE_TCP,
    ENV_FILE,
    PORT,
    MOUNT,
    MOUNT_TMPFS,
    MOUNT_BIND,
    MOUNT_VOLUME,
    HEALTHCHECK,
    LOGGING,
    LOGGING_OPTIONS,
    DEPLOY,
    RESOURCES,
    LIMITS,
    RESERVATIONS,
    DEVICE,
    GENERIC,
    GENERIC_SPEC,
    PLACEMENT,
    PREFERENCE,
    RESTART_POLICY,
    UPDATE_CONFIG,
)
"""In the order of the documentation."""
