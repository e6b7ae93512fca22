"""Seeds whose worlds once broke, and what each found. They are run for ever, before any fresh ones.

A seed is the same story only until the simulator draws something new, so what a seed found is also kept as a situation
of its own in `test_situations` wherever it can be staged; these stay because they cost little and were not chosen to
pass.
"""

from typing import NamedTuple

_REST = "what was taken for rest: a job that still ran, a rollout held up, a paused node, a silence not noticed yet"


class Kept(NamedTuple):
    """A world that once broke."""

    seed: int
    found: str
    nodes: int = 3
    steps: int = 60


SEEDS: tuple[Kept, ...] = (
    Kept(1, "a rollout of a global service stopped it on all nodes at once"),
    Kept(2, "a start that the engine did not answer was asked for again, and an ended container ran a second time"),
    Kept(3, "a join whose welcome was lost could not be repeated: the token was used up"),
    Kept(4, "messages overtook one another in the simulated wire"),
    Kept(5, "a node that returned was declared down at once: it was written down as ready before it counted as heard"),
    Kept(8, "a join whose welcome was lost could not be repeated: the token was used up"),
    Kept(12, "a cancellation was swallowed in `finally: await`, and what was killed went on"),
    Kept(18, _REST),
    Kept(31, _REST),
    Kept(49, "the witness knew places of a global service by slot, and slots are numbered anew"),
    Kept(51, _REST),
    Kept(75, "a slot of a global service was held by a task from a time when it was not global, on another node"),
    Kept(82, "the witness forgot that a service had changed its mode"),
    Kept(104, _REST),
    Kept(142, _REST),
    Kept(158, _REST),
    Kept(188, "messages overtook one another in the simulated wire"),
    Kept(
        2014, "the engine showed another container than was asked for, and one that had ended was started again", 5, 20
    ),
    Kept(2039, "what an earlier session still wrote landed after the news of the next, and undid them", 6, 120),
    Kept(50179, "a connection that waited for its cable spoke once more, and the end of it was taken for news", 4),
    Kept(
        50119,
        "down too soon after it was heard: that was written late, or a frozen worker had lost its connection",
        6,
        120,
    ),
    Kept(
        50215,
        "down too soon after it was heard: that was written late, or a frozen worker had lost its connection",
        6,
        120,
    ),
    Kept(50313, "the witness took who was ready when a hold landed for who was when it was decided", 4),
    Kept(70008, "the witness took what was wished when a task's end landed for what was when it was decided", 1),
    Kept(70243, "the witness did not see that the connection of a frozen worker had ended", 2, 120),
    Kept(52027, "a release was forgotten while a task of it was made", 4),
    Kept(70207, "programs that a container had let hang never ended, though it answered again", 2, 120),
    Kept(200178, "a step that was under way when its task was taken back spoke for the next task of that id", 1, 20),
    Kept(200459, "the witness gave a decision as long as ever to land while the store stalled", 6, 120),
    Kept(
        201267, "a wire whose one way opened while the other closed did not send again what had waited for it", 4, 120
    ),
    Kept(201477, "what was decided for a service landed after another mode was wished of it", 4),
    Kept(801008, "a hello that the store held up for long ended the session that its worker had begun since", 3, 60),
    Kept(801351, "a container that an engine was long in making was started for a task taken back since", 4, 120),
    Kept(22, "the witness did not see that a slot was served while its service was a job", 2),
    Kept(
        900037, "by the rules of a release that waits a task left its node for a taint, and by its own it came back", 2
    ),
    Kept(1000711, "the witness took a slot that waits for another service for one that is about to be filled"),
    Kept(1000725, "the witness did not see that the manager had closed the connection of a frozen worker"),
    Kept(1000868, "the witness counted tasks that were placed later in the same pass"),
    Kept(
        1100071, "placement looked again at once for as long as room was held for somebody: ten seconds of a processor"
    ),
    Kept(1200115, "the witness saw room for a task that was held for others"),
    Kept(1300146, "a task was placed near another for which room was only held"),
    Kept(1300373, "a task was placed near another for which room was only held"),
    Kept(
        1300190, "the witness took the priority that was wished when a displacement landed for that it was decided by"
    ),
    Kept(1300335, "who would displace others did not look again once a port that a program had held could be tried"),
    Kept(1300500, "the same of a task that is pinned to its node"),
    Kept(1400082, "a task was placed near another for whom room was only held"),
    Kept(3000248, "the witness took the container of a task that is gone for that of its namesake, on another volume"),
    Kept(3001351, "a service began with a move of a later turn, which waited for the one before it, and that for it"),
    Kept(3001630, "the witness took the priority of who gave way as wished when it landed for that it was decided by"),
    Kept(3002118, "a task that went took with it what another release of its name needs, and its node was overfilled"),
    Kept(4000846, "a worker started what had run: its engine kept it out of a list, and gave it for a new container"),
    Kept(
        5000956, "a global service was not rolled back: the task that failed was pinned nowhere, and so no slot served"
    ),
    Kept(6002441, "a list missed a task's container and showed one of a namesake before it, and the task was given up"),
    Kept(7000337, "the witness took the last change before a release had to wait again for the time it could start"),
    Kept(8000026, "a service that goes on as a global one, while a job waits, was not looked at when a node came back"),
    Kept(8000030, "a service went on as it had been long before, for some of its tasks were of that time"),
    Kept(8100340, "the witness took a task that a stalled store had kept from giving way for one that still could"),
    Kept(9008301, "the witness did not see that a service goes on to become a single writer while another mode waits"),
    Kept(5055, "what the user's last act set off was still being written when rest began to be looked at", 4, 120),
    Kept(
        7300055,
        "the check for rest took a service for global that goes on as it was until that release may start",
        6,
        120,
    ),
)
