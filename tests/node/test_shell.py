"""The small shell of simulated containers: what it runs, and what it refuses by name."""

import io
import tarfile

import pytest

from ksql.base.clock import SystemClock
from ksql.base.pipes import Pipe
from ksql.conversations import Stdio
from ksql.node import files as bounds
from ksql.node.files import Files, resolved
from ksql.node.processes import start
from ksql.node.scripts import ScriptError, parsed
from ksql.node.shell import Place


def place() -> Place:
    clock = SystemClock(seed=1)
    files = Files(clock.now())
    for folder in ("/tmp", "/etc"):
        files.make_directory(folder, clock.now())
    environment = {"HOME": "/root", "HOSTNAME": "web", "A": "b c"}
    return Place({"metadata": {"name": "web"}}, {"name": "c"}, files, environment, clock)


async def ran(*words: str, stdin: bytes = b"", at: Place | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    ends = Stdio(Pipe(10**6), Pipe(10**8), Pipe(10**6))
    assert ends.stdin and ends.stdout and ends.stderr
    await ends.stdin.write(stdin)
    ends.stdin.end()
    code = await start(at or place(), list(words), ends)
    ends.finish()
    out, err = await ends.stdout.read_all(10**8), await ends.stderr.read_all(10**6)
    return code, out.decode("latin-1"), err.decode()


@pytest.mark.parametrize(
    ("script", "code", "out"),
    [
        ("echo a; echo b", 0, "a\nb\n"),
        ("false && echo no || echo yes", 0, "yes\n"),
        ("exit 7; echo never", 7, ""),
        ("echo $A; echo '$A' \"$A\"", 0, "b c\n$A b c\n"),
        ("X=1; echo ${X}2 $?", 0, "12 0\n"),
        ("false; echo $?", 0, "1\n"),
        ("echo one two > /tmp/f; cat /tmp/f | wc -w; cat < /tmp/f", 0, "2\none two\n"),
        ("echo a >> /tmp/f; echo b >> /tmp/f; tail -n 1 /tmp/f; head -1 /tmp/f", 0, "b\na\n"),
        ("cd /tmp; pwd; mkdir -p x/y; ls; test -d x/y && echo there", 0, "/tmp\nx\nthere\n"),
        ("[ 3 -gt 2 ] && [ -z '' ] && echo yes # a comment", 0, "yes\n"),
        ("seq 3 | grep 2", 0, "2\n"),
        ("sh -c 'exit 3'; echo $?", 0, "3\n"),
        ("echo to nowhere > /dev/null", 0, ""),
        ("nope", 127, ""),
        ("cat /none", 1, ""),
        ("printf '%s-%d\\n' a 3", 0, "a-3\n"),
        ("hostname; sleep 0; true", 0, "web\n"),
        ("for i in $(seq 1 3) x; do echo \"n $i\"; done", 0, "n 1\nn 2\nn 3\nn x\n"),
        ("x=; while [ \"$x\" != aaa ]; do x=${x}a; echo $x; done", 0, "a\naa\naaa\n"),
        ("until test -f /tmp/f; do touch /tmp/f; done; ls /tmp", 0, "f\n"),
        ("if false; then echo a; elif [ 1 = 1 ]; then echo b; else echo c; fi", 0, "b\n"),
        ("if false\nthen echo a\nfi\necho $?", 0, "0\n"),
        ("for a in 1 2; do for b in x y; do echo $a$b; done; done | grep 2", 0, "2x\n2y\n"),
        ("echo \"in $(echo \\'quotes\\' | cat) out\" `hostname`", 0, "in 'quotes' out web\n"),
        ("i=4; echo $((i * (2 + 3) % 7)) $((-7 / 2)) $((1 << 2 == 0 || i > 3))", 2, ""),
        ("i=4; echo $((i * (2 + 3) % 7)) $((-7 / 2)) $((i > 3 && i != 5))", 0, "6 -3 1\n"),
        ("i=0; while [ $i -lt 3 ]; do i=$((i + 1)); done; echo $i", 0, "3\n"),
        ("[[ -d /tmp ]] && exit $(expr 10 % 4)", 2, ""),
        ("[ $RANDOM -lt 32768 ] && [ $(( $RANDOM / 32768 )) = 0 ] && echo yes", 0, "yes\n"),
        ("printf 'b 2\\na 1\\n' > /tmp/f; sort /tmp/f | awk '{print $2}'; stat -c %a /tmp/f", 0, "1\n2\n644\n"),
        ("chmod 600 /etc; stat -c '%a %u' /etc; find /tmp -type d", 0, "600 0\n/tmp\n"),
        ("date foo", 1, ""),
        ("uptime | grep load | wc -l", 0, "1\n"),
        ("echo a > /none/f; echo $?", 0, "1\n"),
        ("echo $(echo 'a;exit 3 $HOME')", 0, "a;exit 3 $HOME\n"),
    ],
)  # fmt: skip
async def test_scripts_do_what_their_namesakes_do(script: str, code: int, out: str) -> None:
    assert (await ran("sh", "-c", script))[:2] == (code, out)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("while true; do true; done", "more than"),
        ("while true; do echo", "unexpected end of file"),
        ("for i in a; echo", 'unexpected "echo"'),
        ("done", '"done" is not known'),
        ("case x in esac", '"case" is not known'),
        ("echo $((1 + ))", "arithmetic syntax error"),
        ("[[ -e /tmp", "missing ]]"),
        ("if true; then " * 30 + "echo", "too deep"),
        ("echo 'open", "unterminated quoted string"),
        ("echo a &&", "unexpected end of file"),
        ("| cat", 'unexpected "|"'),
        ("echo a > ", "unexpected redirection"),
        ("sleep 1 &", 'unexpected "&"'),
        ("; x", 'unexpected ";"'),
        ("x; " * 2000, "too many commands"),
    ],
)  # fmt: skip
async def test_what_it_does_not_know_it_refuses(script: str, told: str) -> None:
    code, _, err = await ran("sh", "-c", script)
    assert code == 2 and told in err


def test_no_text_does_more_than_be_refused() -> None:
    for text in ("\\", "$", "${", "''", '"', "a\0b", "\x80", "<<", "2>&1", "é; ü"):
        try:
            parsed(text)
        except ScriptError:
            continue


async def test_a_shell_on_standard_input_runs_lines_until_exit() -> None:
    assert await ran("sh", stdin=b"echo one\ncd /tmp\npwd\nread x\nword\necho $x\nexit 4\necho no\n") == (
        4, "one\n/tmp\nword\n", ""
    )  # fmt: skip


async def test_what_a_container_is_given_by_tar_it_gives_back() -> None:
    at, buffer = place(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in (("d/a", b"\x00\xff" * 5000), ("../../etc/evil", b"x")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    ends = Stdio(Pipe(10**6), Pipe(10**6), Pipe(10**6))
    assert ends.stdin
    await ends.stdin.write(buffer.getvalue())
    ends.stdin.end()
    assert await start(at, ["tar", "-xmf", "-", "-C", "/tmp"], ends) == 0
    # Nothing lands outside of where it was asked for.
    assert at.files.find("/etc/evil") is None and at.files.read("/tmp/etc/evil") == b"x"
    code, out, err = await ran("tar", "cf", "-", "/tmp/d", at=at)
    assert code == 0 and "Removing leading" in err
    with tarfile.open(fileobj=io.BytesIO(out.encode("latin-1"))) as archive:
        assert archive.getnames() == ["tmp/d", "tmp/d/a"]
    assert (await ran("tar", "xf", "-", stdin=b"no archive at all" * 100))[0] == 2


async def test_a_container_keeps_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FILES_BYTES_MAX", 100)
    at = place()
    assert (await ran("sh", "-c", "seq 50 > /tmp/f", at=at))[0] == 1
    assert (await ran("sh", "-c", "seq 10 > /tmp/g; seq 10 > /tmp/h", at=at))[0] == 1
    assert (await ran("sh", "-c", "rm /tmp/f; seq 10 > /tmp/h", at=at))[0] == 0


def test_paths_never_lead_above_the_root() -> None:
    assert resolved("/a", "../../../etc") == "/etc" and resolved("/", "//x") == "/x" and resolved("/a", "b/.") == "/a/b"


async def test_a_reader_that_leaves_ends_the_writer() -> None:
    out = Pipe()
    out.refuse()
    assert await start(place(), ["seq", "1000"], Stdio(None, out)) == 141
