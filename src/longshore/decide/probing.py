"""Which probes may be wished: exactly one way to ask, and nothing in it that could be taken for something else.

Knows a probe's fields. Its numbers that stand alone are bounded with all others, in `admission`.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from longshore.decide import grammar
from longshore.decide.bounds import check_count, check_number, match, shown
from longshore.model.errors import Invalid
from longshore.model.spec import Probe


def admit_liveness(probe: Probe, field: str) -> Probe:
    if probe.successes != 1:
        # It is stopped once it fails, so there is no coming back to wait for.
        raise Invalid("what has failed its liveness is not asked again; leave it out", field=f"{field}.successes")
    return admit_probe(probe, field)


def admit_probe(probe: Probe, field: str) -> Probe:
    http, tcp, program = probe.http, probe.tcp, probe.exec
    if sum(way is not None for way in (http, tcp, program)) != 1:
        raise Invalid("a probe asks in exactly one way; give it http, tcp or exec", field=field)
    if tcp is not None:
        check_number(tcp.port, (1, grammar.PORT_MAX), f"{field}.tcp.port")
    if program is not None:
        check_count(program.command, f"{field}.exec.command", "words")
        if not program.command or not program.command[0]:
            raise Invalid("a command is a program and its arguments; name the program", field=f"{field}.exec.command")
    if http is None:
        return probe
    path = f"{field}.http"
    check_number(http.port, (1, grammar.PORT_MAX), f"{path}.port")
    rule = "a path begins with '/' and is as it is sent, with anything unusual as %XX"
    match(grammar.PROBE_PATH, http.path, f"{path}.path", rule, longest=grammar.PATH_MAX)
    _check_headers(http.headers, f"{path}.headers")
    check_count(http.accepts, f"{path}.accepts", "status codes")
    for place, status in enumerate(http.accepts):
        check_number(status, grammar.STATUS_CODES, f"{path}.accepts[{place}]")
    return replace(probe, http=replace(http, accepts=tuple(sorted(set(http.accepts)))))


def _check_headers(headers: Mapping[str, str], field: str) -> None:
    check_count(headers, field, "headers")
    for name, value in headers.items():
        match(grammar.HEADER_NAME, name, field, "a header's name is letters, digits and '-'")
        if name.lower() in grammar.HEADERS_REFUSED:
            raise Invalid(f"{shown(name)} is the connection's own header; leave it out", field=field)
        rule = "a header's value is printable ASCII without spaces around it"
        match(grammar.HEADER_VALUE, value, f"{field}[{name}]", rule, longest=grammar.PATH_MAX)
