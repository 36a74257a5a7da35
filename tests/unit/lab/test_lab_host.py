"""What is said when an address is taken."""

import os
import socket

import pytest

from deploy.lab.errors import LabError
from deploy.lab.host import check_free
from deploy.lab.plan import Endpoint

ADDRESS = "127.97.0.1"


@pytest.mark.parametrize(
    ("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)]
)
def test_the_holder_of_an_address_is_named(protocol: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((ADDRESS, 0))
        if protocol == "tcp":
            taken.listen()
        endpoint = Endpoint(protocol, ADDRESS, taken.getsockname()[1])
        with pytest.raises(LabError, match=f"{endpoint} is taken by process {os.getpid()} "):
            check_free([endpoint], "127.97")
    check_free([endpoint], "127.97")


def test_an_address_taken_by_a_socket_on_all_addresses_is_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        endpoint = Endpoint("udp", ADDRESS, taken.getsockname()[1])
        with pytest.raises(LabError, match=f"process {os.getpid()} "):
            check_free([endpoint], "127.97")
