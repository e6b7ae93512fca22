"""`$X` and its kin, and files of KEY=VALUE lines."""

import pytest

from longshore.compose import dotenv
from longshore.compose.faults import Fault
from longshore.compose.variables import Unfilled, fill

VARIABLES = {"A": "1", "EMPTY": "", "_x9": "low", "DOLLAR": "$A"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("$A", "1"),
        ("${A}", "1"),
        ("a${A}b$A.c", "a1b1.c"),
        ("$_x9", "low"),
        ("$A$A", "11"),
        ("${EMPTY}", ""),
        ("$DOLLAR", "$A"),  # what comes from a variable is not looked at again
        ("$$", "$"),
        ("$$A", "$A"),
        ("$$$A", "$1"),
        ("$${A}", "${A}"),
        ("${NO:-d}", "d"),
        ("${NO-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${A:-d}", "1"),
        ("${NO:-}", ""),
        ("${NO-}", ""),
        ("${A:?why}", "1"),
        ("${EMPTY?why}", ""),
        ("${A:+alt}", "alt"),
        ("${EMPTY:+alt}", ""),
        ("${EMPTY+alt}", "alt"),
        ("${NO+alt}", ""),
        ("${NO:+$NO}", ""),
        ("${NO:-${A}}", "1"),
        ("${NO:-${NEITHER:-x${A}y}}", "x1y"),
        ("${A:-${NO}}", "1"),  # a default that is not used may be unset
        ("${A:-${NO:?why}}", "1"),
        ("${NO:-a:-b}", "a:-b"),
        ("${NO:-http://h:80/?q}", "http://h:80/?q"),
        ("${NO:-$$}", "$"),
        ('${NO:-{"a":1}', '{"a":1'),  # a brace alone does not nest, as in Compose
        ("${NO:-a b'c\"d}", "a b'c\"d"),
        ("é${A}☃", "é1☃"),
    ],
)
def test_filled(text: str, filled: str) -> None:
    assert fill(text, VARIABLES) == filled


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("$", 0, "a lone `$`"),
        ("a $5", 2, "a lone `$`"),
        ("a$ b", 1, "a lone `$`"),
        ("${", 0, "a `${` that is never closed"),
        ("x${A", 1, "a `${` that is never closed"),
        ("${NO:-${A}", 0, "a `${` that is never closed"),
        ("${}", 0, "`${` must be followed by the name"),
        ("${9}", 0, "`${` must be followed by the name"),
        ("${A B}", 0, "after `${A` comes `}` or one of"),
        ("${A:x}", 0, "after `${A` comes `}` or one of"),
        ("${é}", 0, "`${` must be followed by the name"),
        (
            "a $NO",
            2,
            "variable NO is not set; set it in the environment or in .env, or give a default with `${NO:-default}`",
        ),
        ("${NO}", 0, "variable NO is not set"),
        ("${NO:-$NEITHER}", 6, "variable NEITHER is not set"),
        ("${NO?}", 0, "variable NO must be set"),
        ("${NO:?say why $A}", 0, "variable NO must be set: say why 1"),
        ("${EMPTY:?why}", 0, "variable EMPTY must be set: why"),
        ("${A:-$}", 5, "a lone `$`"),  # bad even where it is not used
        ("${A:-" * 11 + "}" * 11, 50, "defaults nested more than 10 deep"),
    ],
)
def test_refused(text: str, at: int, message: str) -> None:
    with pytest.raises(Unfilled) as caught:
        fill(text, VARIABLES)
    assert caught.value.message.startswith(message)
    assert caught.value.at == at


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# note\n\n \t\n  # note", {}),
        ("K=v", {"K": "v"}),
        ("K=", {"K": ""}),
        ("K =  v  ", {"K": "v"}),
        ("K: v", {"K": "v"}),
        ("K=a=b:c", {"K": "a=b:c"}),
        ("export K=v\nexport\tL=w", {"K": "v", "L": "w"}),
        ("exported=v", {"exported": "v"}),
        ("K=v\r\nL=w\r\n", {"K": "v", "L": "w"}),
        ("a.b-c[0]=v", {"a.b-c[0]": "v"}),
        ("K=a b # note", {"K": "a b"}),
        ("K=a#b", {"K": "a#b"}),
        ("K= # note", {"K": ""}),
        ("K='a # b' # note", {"K": "a # b"}),
        ("K='$A ${A} \\n'", {"K": "$A ${A} \\n"}),
        ("K='it\\'s'", {"K": "it's"}),
        ('K="a # $A"', {"K": "a # 1"}),
        ('K="a\\nb\\t\\"c\\" \\\\ \\$A $$A"', {"K": 'a\nb\t"c" \\ $A $A'}),
        ('K="\\x \\033[0m"', {"K": "\\x \033[0m"}),
        ('K="one\ntwo # kept\n\nthree"\nL=w', {"K": "one\ntwo # kept\n\nthree", "L": "w"}),
        ("K='one\n$A'", {"K": "one\n$A"}),
        ('K=""', {"K": ""}),
        ("K=$A", {"K": "1"}),
        ("K=a\nL=${K}b\nM=$L", {"K": "a", "L": "ab", "M": "ab"}),
        ("A=2\nK=$A", {"A": "2", "K": "1"}),  # the environment is seen first
        ("K=${NO:-d}", {"K": "d"}),
        ("A\nNO\nEMPTY # note", {"A": "1", "EMPTY": ""}),
        ("K=a\nK=b", {"K": "b"}),
    ],
)
def test_dotenv(text: str, found: dict[str, str]) -> None:
    assert dotenv.parse(text, VARIABLES, "f") == found


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("K=v\n=v", 2, "must be KEY=VALUE, not '=v'"),
        ("a b=c", 1, "must be KEY=VALUE, not 'a b=c'"),
        ("é=c", 1, "must be KEY=VALUE"),
        ("\n\nK='a\nb", 3, "a quote (') that is never closed"),
        ('K="a" b', 1, "'b' follows the closing quote"),
        ('K="a\nb" c', 2, "'c' follows the closing quote"),
        ("K=$NO", 1, "variable NO is not set"),
        ("A=1\nK=#b", 2, "K has a value that begins with #: quote it"),
        ("K: v\nK:#b", 2, "K has a value that begins with #: quote it"),
        ("K=pa$$w$", 1, "a lone `$`"),
        ('\nK="\n\n$NO"', 2, "variable NO is not set"),
    ],
)
def test_dotenv_refused(text: str, line: int, message: str) -> None:
    with pytest.raises(Fault) as caught:
        dotenv.parse(text, VARIABLES, "f")
    assert caught.value.message.startswith(message)
    assert (caught.value.file, caught.value.line) == ("f", line)
