"""Which database URLs can work, and what is said of those that can't."""

import re
from pathlib import Path

import pytest

from evercall.store.address import Host, check_url, parse_hosts


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a", [Host("a", 5432)]),
        ("a:1,b:2", [Host("a", 1), Host("b", 2)]),
        ("a,b:2", [Host("a", 5432), Host("b", 2)]),
        ("[::1]:7,[fe80::2]", [Host("::1", 7), Host("fe80::2", 5432)]),
        ("%2Frun%2Fpostgresql", [Host("/run/postgresql", 5432)]),
    ],
)
def test_hosts(text: str, hosts: list[Host]) -> None:
    assert list(parse_hosts(text)) == hosts


@pytest.mark.parametrize("text", ["", "a,", "a:b", "a:0", "a:70000", "::1", "a b"])
def test_what_is_no_host_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        parse_hosts(text)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:password@host/database",
        "postgres://user@a:5432,b:5433/database?target_session_attrs=read-write",
        "postgresql://user:p%40ss%23@host/database?sslmode=require&application_name=x",
        "postgresql://user@host/database?sslmode=prefer&ssl_min_protocol_version=TLSv1.3",
    ],
)
def test_urls_that_can_work(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://secret:secret@host/database", "postgresql://"),
        ("postgresql://host/database", "no user"),
        ("postgresql://user:secret@/database", "host"),
        ("postgresql://user:secret@host", "no database"),
        ("postgresql://user:sec@ret@host/database", "%40"),
        ("postgresql://user:sec#ret@host/database", "%23"),
        ("postgresql://user:secret@host/database?sslmod=require", "'sslmod'; known are"),
        ("postgresql://user:secret@host/database?keepalives=1", "'keepalives'"),
        ("postgresql://user:secret@host/database?sslmode=yes", "is not one of"),
        ("postgresql://user:secret@host/database?target_session_attrs=standby", "Evercall writes"),
        ("postgresql://user:secret@host/database?sslmode=verify-ca", "needs sslrootcert"),
        ("postgresql://user:secret@host/database?sslrootcert=/x", "add sslmode=verify-full"),
        ("postgresql://user:secret@host/database?sslkey=/x", "needs sslcert"),
        ("postgresql://user:secret@host/database?sslcert=/not/there", "No such file"),
    ],
)
def test_urls_that_cannot_work(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refusal:
        check_url(url)
    assert "secret" not in str(refusal.value)


def test_a_file_that_holds_no_certificate_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("nothing of the kind")
    with pytest.raises(ValueError, match="sslrootcert, sslcert or sslkey"):
        check_url(f"postgresql://u@h/d?sslmode=verify-full&sslrootcert={file}")
