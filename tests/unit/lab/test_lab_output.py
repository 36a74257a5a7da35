"""What the user sees: steps, tables, logs."""

import io
from pathlib import Path

import pytest

from deploy.lab.logs import Tail
from deploy.lab.progress import Progress
from deploy.lab.status import Row, all_ready, table


def test_a_step_is_one_line_with_its_time() -> None:
    output = io.StringIO()
    progress = Progress(output)
    with progress.step("schema"):
        progress.detail("unseen without a terminal")
    assert output.getvalue() == "  ok     schema (0.0 s)\n"


def test_a_step_that_fails_says_so_and_the_error_goes_on() -> None:
    output = io.StringIO()
    progress = Progress(output)
    with pytest.raises(RuntimeError, match="broken"), progress.step("schema"):
        raise RuntimeError("broken")
    assert output.getvalue() == "  failed schema (0.0 s)\n"


def test_columns_of_the_table_line_up() -> None:
    rows = [
        Row("nginx", "127.20.0.10:5060", "ready", "1.30", "7", "0:00:01"),
        Row("call_manager-1", "127.20.4.11:9100", "not ready: waits for bus", "-", "8", "1:00:00"),
    ]
    lines = table(rows).splitlines()
    assert [line.index("127.20.") for line in lines[1:]] == [16, 16]
    assert lines[0].split() == ["process", "address", "state", "version", "pid", "uptime"]
    assert not all_ready(rows)
    assert all_ready(rows[:1])


def test_a_log_is_shown_from_near_its_end_and_followed(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text("".join(f"line {number}\n" for number in range(100)) + "half")
    with Tail(file, 2) as tail:
        assert tail.read() == ["line 98", "line 99"]
        with file.open("a") as log:
            log.write(" line\nnext\n")
        assert tail.read() == ["half line", "next"]


def test_a_log_is_followed_over_its_rotation(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text("old\n")
    with Tail(file, 5) as tail:
        assert tail.read() == ["old"]
        with file.open("a") as log:
            log.write("last\n")
        file.rename(tmp_path / "x.log.1")
        file.write_text("new\n")
        assert tail.read() == ["last"]
        assert tail.read() == ["new"]
