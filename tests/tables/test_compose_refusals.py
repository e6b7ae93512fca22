"""What a Compose file is refused for: each line to blame is marked in the text itself (see `composed`)."""

from pathlib import Path

import pytest

from longshore.compose import load
from longshore.model.errors import Invalid
from tests.tables.composed import app_of, assert_refused, refusal, service

SERVICE_KEYS = [
    "build: .  #! .build: not supported: images are not built here",
    "depends_on: [db]  #! .depends_on[0]: there is no service 'db' in this file; name one of it",
    "depends_on: db  #! .depends_on: must be a list, not a single value",
    "depends_on: {db: {condition: service_healthy}}  #! .depends_on.db: there is no service 'db' in this file",
    "depends_on: [web]  #! .depends_on[0]: web waits for web; break the circle",
    "depends_on:\n  db:\n    required: false\n    restart: true  #! .depends_on.db.restart: true is not supported: what runs",
    "depends_on: {db: {required: false, wait: 1}}  #! .depends_on.db.wait: unknown key",
    "x-longshore: [a]  #! .x-longshore: must be a mapping, not a list",
    "x-longshore: {liveliness: {}}  #! .x-longshore.liveliness: unknown key; did you mean liveness?",
    "x-longshore: {x-mine: {}}  #! .x-longshore.x-mine: unknown key; remove it",
    "x-longshore: {liveness: }  #! .x-longshore.liveness: asks in no way; a probe has one of http, tcp and command",
    "x-longshore: {liveness: {http: {port: 1}, tcp: {port: 1}}}  #! .x-longshore.liveness: asks in http and tcp; a probe",
    "x-longshore: {liveness: {http: {path: /}}}  #! .x-longshore.liveness.http: has no port; name the container's",
    "x-longshore: {liveness: {tcp: 80}}  #! .x-longshore.liveness.tcp: must be a mapping, not a single value",
    "x-longshore: {liveness: {tcp: {port: http}}}  #! .x-longshore.liveness.tcp.port: must be a whole number, not 'http'",
    "x-longshore: {readiness: {command: a b}}  #! .x-longshore.readiness.command: must be a list, not a single value",
    "x-longshore: {readiness: {command: []}}  #! .x-longshore.readiness.command: is empty; list the program",
    "x-longshore:\n  readiness:\n    tcp: {port: 80}\n    interval: 5  #! .x-longshore.readiness.interval: must be a duration",
    "x-longshore:\n  readiness:\n    tcp: {port: 80}\n    test: a  #! .x-longshore.readiness.test: unknown key",
    "networks: [a]  #! .networks: not supported: the cluster has no networks",
    "privileged: true  #! .privileged: not supported: tasks get no access to their machine",
    "devices: []  #! .devices: not supported",
    "secrets: []  #! .secrets: not supported",
    "init: true  #! .init: not supported: put an init",
    "extends: {service: a}  #! .extends: not supported",
    "enviroment: {}  #! .enviroment: unknown key; did you mean environment?",
    "Image: a  #! .Image: unknown key; did you mean image?",
    "network: a  #! .network: unknown key; did you mean networks? That is not supported: the cluster",
    "zzz: a  #! .zzz: unknown key; remove it, or start it with x-",
    "'odd.key': a  #! .'odd.key': unknown key",
    "user:  #! .user: has no value",
    "user: ~  #! .user: has no value",
    "user: !!null null  #! .user: has no value",
    "user: ''  #! .user: is empty",
    "user: ${EMPTY}  #! .user: is empty",
    "user: true  #! .user: true is a truth value here; quote it",
    "user: [a]  #! .user: must be a single value, not a list",
    'user: "a\\0b"  #! .user: contains a NUL character',
    "user: !!int a  #! .user: 'a' is not what its tag !!int says",
    "hostname: ${BROKEN}  #! .hostname: is not valid Unicode",
    "environment: {BROKEN: }  #! .environment.BROKEN: is not valid Unicode",
    "read_only: yes  #! .read_only: must be true or false, not 'yes'",
    'command: "a \'b"  #! .command: cannot be split into words: no closing quotation',
    "command: [a, {b: c}]  #! .command[1]: must be a single value, not a mapping",
    "command: [a, true]  #! .command[1]: true is a truth value here",
    "command: [a, ]\nentrypoint: {a: b}  #! .entrypoint: must be a single value, not a mapping",
    "command: []  #! .command: an empty command leaves the image's own",
    "restart: sometimes  #! .restart: must be no, always, unless-stopped or on-failure[:N], not 'sometimes'",
    "restart: always:3  #! .restart: must be no",
    "restart: on-failure:x  #! .restart: must be on-failure:N with a whole number, not 'x'",
    "restart: false  #! .restart: false is a truth value here; quote it",
    "pull_policy: build  #! .pull_policy: 'build' is not supported: images are not built here",
    "pull_policy: often  #! .pull_policy: must be always or missing or if_not_present or never",
    "security_opt: ['seccomp:unconfined']  #! .security_opt[0]: 'seccomp:unconfined' is not supported",
    "stop_grace_period: 10  #! .stop_grace_period: must be a duration with its unit",
    "stop_grace_period: -1s  #! .stop_grace_period: must be a duration",
    "stop_grace_period: 1d  #! .stop_grace_period: must be a duration",
    "stop_grace_period: 99999999h  #! .stop_grace_period: '99999999h' is longer than ten years",
    "cap_add: NET_ADMIN  #! .cap_add: must be a list, not a single value",
    "labels: a  #! .labels: must be a mapping, or a list of KEY=VALUE",
    "labels: ['=a']  #! .labels[0]: must be KEY=VALUE; the key is missing",
    "environment:\n- A=1\n- A=2  #! .environment[1]: 'A' is given twice",
    "environment:\n- A: 2  #! .environment[0]: must be KEY=VALUE; a list takes no mappings",
    "environment:\n  A: [1]  #! .environment.A: must be a single value, not a list",
    "env_file: no.env  #! .env_file: there is no file",
    "env_file: /tmp  #! .env_file: '/tmp' is a folder",
    "env_file: [{required: false}]  #! .env_file[0]: has no path",
    "env_file: [{path: a, required: false, format: raw}]  #! .env_file[0].format: not supported",
    "env_file: [{path: a, required: false, x-a: 1}]  #! .env_file[0].x-a: unknown key; remove it",
]

PORTS = [
    "- http  #! .ports[0]: 'http' is no port number",
    "- 1:2:3:4  #! .ports[0]: '1:2:3:4' is no port",
    "- true  #! .ports[0]: true is a truth value here",
    "- '8080:'  #! .ports[0]: '8080:' is no port",
    "- 80.5  #! .ports[0]: '80.5' is no port number",
    "- 0  #! .ports[0]: ports go from 1 to 65535, not '0'",
    "- 65536:80  #! .ports[0]: ports go from 1 to 65535, not '65536'",
    "- -1  #! .ports[0]: '' is no port number",
    "- 80/sctp  #! .ports[0]: the protocol must be tcp or udp, not 'sctp'",
    "- host:80:80  #! .ports[0]: 'host' is no IP address",
    "- 8000-8010:80  #! .ports[0]: a range of host ports for one container port",
    "- 8000-8002:80-81  #! .ports[0]: 3 host ports for 2 container ports",
    "- 81-80  #! .ports[0]: the range '81-80' runs backwards",
    "- [80]  #! .ports[0]: must be a single value, not a list",
    "- {published: 80}  #! .ports[0]: has no target",
    "- {target: 80, published: 1-2}  #! .ports[0].published: a range of host ports for one container port",
    "- {target: a}  #! .ports[0].target: 'a' is no port number",
    "- {target: 80, mode: vip}  #! .ports[0].mode: must be host or ingress, not 'vip'",
    "- {target: 80, mode: ingress, app_protocol: h2}  #! .ports[0].app_protocol: must be http or tcp, not 'h2'",
    "- {target: 80, app_protocol: http}  #! .ports[0].app_protocol: says how entries are to read the port",
    "- {target: 80, mode: ingress, protocol: udp}  #! .ports[0]: entries pass on TCP alone; leave mode: ingress out",
    "- {target: 80, name: web}  #! .ports[0].name: not supported",
    "- {target: 80, host_ip: x}  #! .ports[0].host_ip: 'x' is no IP address",
]

MOUNTS = [
    "- /x  #! .volumes[0]: '/x' is a volume without a name",
    "- nope:/x  #! .volumes[0]: no volume 'nope' is declared",
    "- a:/x:ro:z  #! .volumes[0]: 'a:/x:ro:z' is no volume",
    "- ':/x'  #! .volumes[0]: ':/x' is no volume",
    "- /a:x  #! .volumes[0]: 'x' is no path in the container",
    "- /a:/x:z  #! .volumes[0]: the option 'z' is not supported",
    "- ~other/a:/x  #! .volumes[0]: '~other/a': whose home",
    "- ~/a:/x  #! .volumes[0]: '~/a': whose home",
    "- {source: a, target: /x}  #! .volumes[0]: has no type",
    "- {type: image, source: a, target: /x}  #! .volumes[0].type: 'image' is not supported: copy",
    "- {type: bind, source: /a}  #! .volumes[0]: has no target",
    "- {type: bind, target: /x}  #! .volumes[0]: has no source",
    "- {type: tmpfs, source: /a, target: /x}  #! .volumes[0].source: a tmpfs comes from nowhere",
    "- {type: bind, source: /a, target: /x, tmpfs: {size: 1}}  #! .volumes[0].tmpfs: is for type: tmpfs",
    "- {type: bind, source: /a, target: /x, bind: {create_host_path: true}}  #! .volumes[0].bind.create_host_path: tr",
    "- {type: bind, source: /a, target: /x, bind: {propagation: shared}}  #! .volumes[0].bind.propagation: not supp",
    "- {type: tmpfs, target: /x, tmpfs: {size: big}}  #! .volumes[0].tmpfs.size: must be a size",
    "- {type: tmpfs, target: /x, consistency: cached}  #! .volumes[0].consistency: not supported",
]

OTHERS = [
    "tmpfs: /run:mode=1777  #! .tmpfs: the option 'mode=1777' is not supported",
    "tmpfs: [/run:size=x]  #! .tmpfs[0]: must be a size, such as 64m, 1.5g or 128MiB, or a number of bytes, not 'x'",
    "tmpfs: run  #! .tmpfs: 'run' is no path in the container",
    "healthcheck: {interval: 1s}  #! .healthcheck: has no test",
    "healthcheck: {test: a, disable: true}  #! .healthcheck.test: is disabled by the same healthcheck",
    "healthcheck: {test: [a, b]}  #! .healthcheck.test: a list starts with CMD, CMD-SHELL or NONE",
    "healthcheck: {test: []}  #! .healthcheck.test: a list starts with",
    "healthcheck: {test: [CMD]}  #! .healthcheck.test: after CMD comes the program and its arguments, not 0",
    "healthcheck: {test: [CMD-SHELL, a, b]}  #! .healthcheck.test: after CMD-SHELL comes one text, not 2",
    "healthcheck: {test: [NONE, a]}  #! .healthcheck.test: after NONE comes nothing",
    "healthcheck: {test: a, retries: 1.5}  #! .healthcheck.retries: must be a whole number, not '1.5'",
    "healthcheck: {test: a, start_interval: 1s}  #! .healthcheck.start_interval: not supported",
    "healthcheck: curl  #! .healthcheck: must be a mapping, not a single value",
    "logging: {driver: syslog}  #! .logging.driver: the driver 'syslog' is not supported",
    "logging: {options: {tag: a}}  #! .logging.options.tag: not supported",
    "logging: {options: {max-size: -1}}  #! .logging.options.max-size: must be a size",
    "logging: {options: {max-file: 0}}  #! .logging.options.max-file: must be between 1 and",
    "deploy: {rollback_config: {order: start-first}}  #! .deploy.rollback_config: not supported",
    "deploy: {update_config: {order: first}}  #! .deploy.update_config.order: must be start-first or stop-first",
    "deploy: {update_config: {max_failure_ratio: 2}}  #! .deploy.update_config.max_failure_ratio: must be from 0 to 1",
    "deploy: {update_config: {failure_action: stop}}  #! .deploy.update_config.failure_action: must be rollback or pause or continue",
    "deploy: {mode: global-job}  #! .deploy.mode: 'global-job' is not supported",
    "deploy: {mode: global, update_config: {max_failure_ratio: 0.5}}  #! .deploy.update_config.max_failure_ratio: a global service has",
    "security_opt: ['no-new-privileges:true', 'no-new-privileges:false']  #! .security_opt[1]: no-new-privileges is set twice",
    "volumes: ['/a:/b:ro,rw']  #! .volumes[0]: the option 'ro,rw' is not supported",
    "tmpfs: ['/a:ro,rw']  #! .tmpfs[0]: the option 'rw' says again",
    "tmpfs: ['/a:size=1m,size=2m']  #! .tmpfs[0]: the option 'size=2m' says again",
    "deploy: {replicas: -1}  #! .deploy.replicas: must be between 0 and",
    "deploy: {replicas: 1e3}  #! .deploy.replicas: must be a whole number",
    "deploy: {replicas: 99999999999999999999}  #! .deploy.replicas: '99999999999999999999' is too large",
    "deploy: {mode: global, replicas: 2}  #! .deploy.replicas: a global service has one task on each node",
    "deploy: {resources: {limits: {cpus: many}}}  #! .deploy.resources.limits.cpus: must be a number of CPU",
    "deploy: {resources: {limits: {cpus: .inf}}}  #! .deploy.resources.limits.cpus: must be a number of CPU",
    "deploy: {resources: {limits: {cpus: 1e2}}}  #! .deploy.resources.limits.cpus: must be a number of CPU",
    "deploy: {resources: {limits: {memory: 64x}}}  #! .deploy.resources.limits.memory: must be a size",
    "deploy: {resources: {limits: {memory: 9999999p}}}  #! .deploy.resources.limits.memory: '9999999p' is too",
    "deploy: {resources: {limit: {}}}  #! .deploy.resources.limit: unknown key; did you mean limits?",
    "deploy: {resources: {reservations: {devices: [{count: 1}]}}}  #! .deploy.resources.reservations.devices[0]: needs one",
    "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: all}]}}}  #! .deploy.resources.reservations.devices[0].count: all is not supported",
    "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], device_ids: [a]}]}}}  #! .deploy.resources.reservations.devices[0].device_ids: not supported",
    "deploy: {resources: {reservations: {generic_resources: [{}]}}}  #! .deploy.resources.reservations.generic_resources[0]: has no",
    "deploy: {placement: {preferences: [{}]}}  #! .deploy.placement.preferences[0]: has no spread",
    "deploy: {placement: {constraints: [node.hostname]}}  #! .deploy.placement.constraints[0]: 'node.hostname' is no constraint",
    "x-longshore: {placement: {affinity: [{over: node.name}]}}  #! .x-longshore.placement.affinity[0]: needs a service or a selector",
    "x-longshore: {placement: {spread: [{skew_max: 1}]}}  #! .x-longshore.placement.spread[0]: has no over",
    "x-longshore: {placement: {spread: [{over: node.name, skew_max: 0}]}}  #! .x-longshore.placement.spread[0].skew_max: must",
    "x-longshore: {placement: {prefers: [{weight: 3}]}}  #! .x-longshore.placement.prefers[0]: has no constraint",
    "x-longshore: {placement: {tolerations: [{effect: Never}]}}  #! .x-longshore.placement.tolerations[0].effect: must be",
    "x-longshore: {placement: {near: []}}  #! .x-longshore.placement.near: unknown key",
    "deploy: {placement: {constraints: [node.role==manager]}}  #! .deploy.placement.constraints[0]: node.role is not",
    "deploy: {placement: {constraints: [node.labels.a=b]}}  #! .deploy.placement.constraints[0]: 'node.labels.a=b' is",
    "deploy: {placement: {constraints: [node.colour==b]}}  #! .deploy.placement.constraints[0]: nothing is known of",
    "deploy: {restart_policy: {condition: always}}  #! .deploy.restart_policy.condition: must be any or on-failure",
    "deploy: {restart_policy: {window: 0s}}  #! .deploy.restart_policy.window: must be longer than 0s",
]

CONTRADICTIONS = [
    "scale: 2\ndeploy:\n  replicas: 3  #! .deploy.replicas: says otherwise than services.web.scale on line 4",
    "cpus: 1\ndeploy: {resources: {limits: {cpus: 2}}}  #! .deploy.resources.limits.cpus: says otherwise",
    "mem_limit: 1\ndeploy: {resources: {limits: {memory: 2}}}  #! .deploy.resources.limits.memory: says othe",
    "pids_limit: 1\ndeploy: {resources: {limits: {pids: 2}}}  #! .deploy.resources.limits.pids: says otherwise",
    "mem_reservation: 1\ndeploy: {resources: {reservations: {memory: 2}}}  #! .deploy.resources.reservations.memory: ",
    "labels: {a: 1}\ndeploy:\n  labels:\n    a: 2  #! .deploy.labels.a: says otherwise than services.web.labels.a",
    "restart: always\ndeploy:\n  restart_policy: {condition: none}  #! .deploy.restart_policy: says otherwise",
    "restart: on-failure:1\ndeploy:\n  restart_policy: {max_attempts: 2}  #! .deploy.restart_policy: says oth",
]


@pytest.mark.parametrize("keys", SERVICE_KEYS + OTHERS + CONTRADICTIONS)
def test_service(tmp_path: Path, keys: str) -> None:
    assert_refused(tmp_path, service(keys), {"EMPTY": "", "BROKEN": "\udcff"})


@pytest.mark.parametrize("item", PORTS)
def test_ports(tmp_path: Path, item: str) -> None:
    assert_refused(tmp_path, service(f"ports:\n{item}"))


@pytest.mark.parametrize("item", MOUNTS)
def test_mounts(tmp_path: Path, item: str) -> None:
    assert_refused(tmp_path, service(f"volumes:\n{item}"))


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  web:  #! services.web: has no image\n    user: a",
        "services:\n  web:  #! services.web: has no image",
        "services: #! there is no service",
        "volumes: {a: }  #! there is no service",
        "services: [a]  #! services: must be a mapping, not a list",
        "services:\n  web: [a]  #! services.web: must be a mapping, not a list",
        "- a  #! must be a mapping, not a list",
        "just words  #! must be a mapping, not a single value",
        "service: {}  #! service: unknown key; did you mean services?\nservices: {web: {image: i}}",
        "networks: {a: }  #! networks: not supported\nservices: {web: {image: i}}",
        "include: [a]  #! include: not supported\nservices: {web: {image: i}}",
        "version: [3]  #! version: must be a single value\nservices: {web: {image: i}}",
        "services: {web: {image: i}}\nvolumes:\n  a: {driver: nfs}  #! volumes.a.driver: the driver 'nfs' is not",
        "services: {web: {image: i}}\nvolumes:\n  a: {driver_opts: {}}  #! volumes.a.driver_opts: not supported",
        "services: {web: {image: i}}\nvolumes:\n  a: {external: {name: b}}  #! volumes.a.external: must be true",
        "services: {web: {image: i}}\nvolumes: [a]  #! volumes: must be a mapping, not a list",
    ],
)
def test_top_level(tmp_path: Path, text: str) -> None:
    assert_refused(tmp_path, text)


YAML = {
    "": ["compose.yaml: the file is empty; a Compose file starts with `services:`"],
    "# only a comment\n": ["compose.yaml: the file is empty; a Compose file starts with `services:`"],
    "services: {}\n---\nservices: {}": ["compose.yaml:2: a second YAML document starts here; keep one app per file"],
    "services:\n\tweb: {}": ["compose.yaml:2: not YAML: a tab in the indentation; YAML takes spaces only"],
    "services:\n  web:\n    image: a\n    image: b": [
        "compose.yaml:4: services.web.image: given twice, first on line 3; keep one"
    ],
    "services:\n  web: {<<: {}, <<: {}}": [
        "compose.yaml:2: services.web.'<<': `<<` is given twice; merge several with `<<: [*one, *two]`"
    ],
    "services:\n  web: {<<: 3}": [
        "compose.yaml:2: services.web.'<<': `<<` takes a mapping or a list of them, mostly aliases: `*defaults`"
    ],
    "services: *nowhere": [
        "compose.yaml:1: services: nothing above is anchored as 'nowhere'; write `&nowhere` at the original"
    ],
    "services: &self [*self]": [
        "compose.yaml:1: services[0]: nothing above is anchored as 'self'; write `&self` at the original"
    ],
    "services:\n  web: !reset {}": ["compose.yaml:2: services.web: the tag '!reset' is not supported; remove it"],
    "services:\n  web: !!set {}": [
        "compose.yaml:2: services.web: the tag 'tag:yaml.org,2002:set' is not supported; remove it"
    ],
    "services:\n  web: {image: !!binary YQ==}": [
        "compose.yaml:2: services.web.image: the tag 'tag:yaml.org,2002:binary' is not supported; remove it"
    ],
    "services:\n  !mine web: {image: i}": ["compose.yaml:2: services.web: the tag '!mine' is not supported; remove it"],
    "services:\n  ? [a]\n  : b": ["compose.yaml:2: services: a key must be a word"],
    "services:\n  : b": ["compose.yaml:2: not YAML: did not find expected key, while parsing a block mapping"],
    "services: [": ["compose.yaml:1: not YAML: did not find expected node content, while parsing a flow node"],
    "services: 'a": ["compose.yaml:1: not YAML: found unexpected end of stream, while scanning a quoted scalar"],
    "services: a: b": ["compose.yaml:1: not YAML: mapping values are not allowed in this context"],
    "services: @a": [
        "compose.yaml:1: not YAML: found character that cannot start any token, while scanning for the next token"
    ],
    "services:\n  web: \x07": ["compose.yaml:2: not YAML: control characters are not allowed"],
    "a: " + "[" * 1000: ["compose.yaml:1: nested more than 50 deep"],
    "%YAML 3.0\n---\na: b": ["compose.yaml:1: not YAML: found incompatible YAML document"],
}


@pytest.mark.parametrize("text", YAML, ids=range(len(YAML)))
def test_yaml(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == YAML[text]


def test_every_fault_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = service("ports: [a]  #! .ports[0]: \nbuild: .  #! .build: not\nuser: $X  #! .user: ")
    assert_refused(tmp_path, text)
    with pytest.raises(Invalid) as caught:
        app_of(tmp_path, text)
    assert caught.value.field == "services.web.ports[0]"


def test_a_fault_in_an_anchor_is_told_at_the_anchor(tmp_path: Path) -> None:
    text = """
x-web: &web
  image: i
  build: .
services:
  one: *web
  two: {<<: *web}
"""
    assert [line.split(":")[1:3] for line in refusal(tmp_path, text)] == [
        ["4", " services.one.build"],
        ["4", " services.two.build"],
    ]


def test_many_faults_are_counted(tmp_path: Path) -> None:
    lines = refusal(tmp_path, service("\n".join(f"wrong{n}: 1" for n in range(1000))))
    assert len(lines) == 21
    assert lines[-1] == "compose.yaml: … and 980 more"


def test_what_never_comes_cannot_be_waited_for(tmp_path: Path) -> None:
    text = """
services:
  db: {image: i}
  web:
    image: i
    depends_on:
      db:
        condition: healthy  #! services.web.depends_on.db.condition: must be service_started or service_healthy or
"""
    assert_refused(tmp_path, text)
    text = """
services:
  db: {image: i}
  web:
    image: i
    depends_on:
      db: {condition: service_completed_successfully}  #! services.web.depends_on.db: db is no job, so it never completes
"""
    assert_refused(tmp_path, text)
    text = """
services:
  db: {image: i}
  web:
    image: i
    depends_on:  #! services.web.depends_on: names db twice; keep one of them
      - db
      - db
"""
    assert_refused(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def told(file: Path) -> str:
        with pytest.raises(Invalid) as caught:
            load(file, env={})
        return caught.value.message.replace(f"{tmp_path}/", "")

    assert told(tmp_path / "none.yaml") == "none.yaml: there is no such file"
    (tmp_path / "folder").mkdir()
    assert told(tmp_path / "folder") == "folder: is a folder; name a file"
    (tmp_path / "big.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    assert told(tmp_path / "big.yaml") == "big.yaml: is larger than 1 MiB"
    (tmp_path / "latin.yaml").write_bytes(b"a: b\nc: \xe9\n")
    assert told(tmp_path / "latin.yaml") == "latin.yaml: is not UTF-8 text: see line 2; save it as UTF-8"
    (tmp_path / "wide.yaml").write_text("a: b", encoding="utf-16")
    assert told(tmp_path / "wide.yaml").startswith("wide.yaml: is not UTF-8 text")
    assert "cannot be read: " in told(tmp_path / "big.yaml" / "more")


def test_alias_bombs_are_refused_at_once(tmp_path: Path) -> None:
    bomb = "x0: &x0 [a,a,a,a,a,a,a,a,a]\n"
    for level in range(1, 30):
        bomb += f"x{level}: &x{level} [{','.join([f'*x{level - 1}'] * 9)}]\n"
    (line,) = refusal(tmp_path, bomb)
    assert line == "compose.yaml:6: more than 100000 values once its aliases are written out; use fewer"
    merges = "x-a: &a {" + ",".join(f"k{n}: " for n in range(2000)) + "}\nservices:\n"
    merges += "".join(f"  s{n}: {{<<: *a}}\n" for n in range(200))
    assert "more than 100000 values" in refusal(tmp_path, merges)[0]
    ranges = service("ports: [" + ", ".join(["1-65535"] * 2000) + "]")
    assert "the file's ranges come to too many ports" in refusal(tmp_path, ranges)[0]
