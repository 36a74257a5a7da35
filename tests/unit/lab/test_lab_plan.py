"""The farm as data."""

import ipaddress
from pathlib import Path

import pytest

from deploy.lab.credentials import Credentials
from deploy.lab.errors import LabError
from deploy.lab.network import Network
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Farm, Kind, erlang_node, plan_farm
from deploy.lab.settings import Settings, load_settings
from evercall.bus.address import parse_url


def test_the_default_farm_is_what_the_documentation_says(farm: Farm) -> None:
    assert [process.name for process in farm.processes] == [
        "postgresql",
        "rabbitmq",
        "rtpengine-1",
        "asterisk-call-1",
        "asterisk-call-2",
        "nginx",
        "nginx-sip",
        "kamailio-1",
        "kamailio-2",
        "route_manager-1",
        "flow_manager-1",
        "call_manager-1",
        "call_manager-2",
        "asterisk_proxy-1",
        "asterisk_proxy-2",
        "media_manager-1",
        "media_manager-2",
        "api_manager-1",
    ]


@pytest.mark.parametrize("count", [1, 9])
def test_no_two_processes_share_a_name_or_a_socket(
    count: int, credentials: Credentials, paths: LabPaths
) -> None:
    settings = Settings(
        kamailio=count,
        rtpengine=count,
        asterisk_call=count,
        api_manager=count,
        call_manager=count,
        flow_manager=count,
        media_manager=count,
        route_manager=count,
    )
    farm = plan_farm(settings, credentials, paths)
    names = [process.name for process in farm.processes]
    sockets = [endpoint for process in farm.processes for endpoint in process.endpoints]
    assert len(names) == 4 + count * 9
    assert len(set(names)) == len(names)
    assert len(set(sockets)) == len(sockets)


def test_a_broker_of_three_nodes_shares_one_epmd_and_services_know_all(
    credentials: Credentials, paths: LabPaths
) -> None:
    farm = plan_farm(Settings(rabbitmq=3), credentials, paths)
    nodes = farm.of_kind(Kind.RABBITMQ)
    assert [node.name for node in nodes] == ["rabbitmq", "rabbitmq-2", "rabbitmq-3"]
    assert len({erlang_node(node).partition("@")[0] for node in nodes}) == 3
    epmd_port = farm.network.epmd_port
    sockets = [e for process in farm.processes for e in process.endpoints if e.port == epmd_port]
    assert sorted(e.address for e in sockets) == sorted(node.address for node in nodes)
    # RabbitMQ wants its distribution port for itself on all addresses.
    assert len({node.endpoints[1].port for node in nodes}) == 3
    for service in farm.of_kind(Kind.SERVICE):
        address = parse_url(dict(service.environment)["EVERCALL_AMQP_URL"])
        assert [host.name for host in address.hosts] == [node.address for node in nodes]


def test_two_nodes_of_a_broker_are_refused() -> None:
    with pytest.raises(LabError, match="rabbitmq is 2"):
        load_settings(Path("/nowhere"), {"EVERCALL_LAB_RABBITMQ": "2"})


def test_everything_stays_below_the_prefix(credentials: Credentials, paths: LabPaths) -> None:
    farm = plan_farm(Settings(network="127.21"), credentials, paths)
    lab = ipaddress.ip_network("127.21.0.0/16")
    for process in farm.processes:
        assert all(ipaddress.ip_address(e.address) in lab for e in process.endpoints)
        assert not any("127.20." in value for _, value in process.environment)


def test_every_asterisk_has_a_proxy_that_knows_its_name(farm: Farm) -> None:
    asterisks, proxies = farm.of_kind(Kind.ASTERISK), farm.of_module("asterisk_proxy")
    assert [p.index for p in proxies] == [a.index for a in asterisks]
    ids = [dict(proxy.environment)["EVERCALL_ASTERISK_ID"] for proxy in proxies]
    assert ids == ["call-1", "call-2"]


def test_a_service_gets_the_secrets_that_it_needs_and_no_others(farm: Farm) -> None:
    def told(name: str) -> str:
        return " ".join(value for _, value in farm.named(name).environment)

    assert "pw-broker" in told("call_manager-1")
    assert "pw-database" in told("call_manager-1")
    assert "pw-ari" in told("asterisk_proxy-1")
    assert "pw-admin" in told("api_manager-1")
    assert "pw-admin" not in told("call_manager-1")
    assert "pw-ari" not in told("call_manager-1")
    for secret in ("pw-admin", "pw-ari", "pw-jwt"):
        assert secret not in told("media_manager-1")
    for process in farm.processes:
        assert "pw-superuser" not in told(process.name)


def test_a_media_manager_hears_asterisk_and_applications_at_its_own_address(farm: Farm) -> None:
    for process in farm.of_module("media_manager"):
        told = dict(process.environment)
        assert told["EVERCALL_RTP_ADDRESS"] == process.address == f"127.20.4.{50 + process.index}"
        assert told["EVERCALL_HTTP_LISTEN"] == f"{process.address}:8080"
        assert told["EVERCALL_TRUSTED_PROXIES"] == "127.20.0.40/32"
        assert told["EVERCALL_MEDIA_ALLOWED_NETWORKS"] == "127.20.9.0/24"


def test_carriers_are_the_first_two_hundred_addresses_outside() -> None:
    networks = [ipaddress.ip_network(text) for text in Network("127.20").carriers]
    known = {str(address) for network in networks for address in network}
    assert known == {f"127.20.9.{host}" for host in range(1, 201)}
