"""From what a scenario says to what an adapter is given."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest

from conformance.adapters.base import Configuration, LimitsSpec, PortSpec, RangeSpec
from conformance.run.configuration import Numbers, changed, configuration, range_spec
from conformance.scenario import model

NOW = datetime(2026, 6, 15, 23, 30, tzinfo=UTC)


@pytest.fixture
def numbers():
    made = Numbers()
    yield made
    made.release()


def port(name="door", number="any", address="::1", protocol="smtp"):
    return model.Port(name=name, protocol=protocol, address=address, number=number)


def scenario(**server):
    return model.Scenario.model_validate(
        {
            "id": "tests.one",
            "title": "A title of a case",
            "requirements": ["BIND-2"],
            "server": server,
            "steps": [{"server": "kill"}],
        }
    )


def can_listen(number, address="::1") -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.create_server((address, number), family=family):
            return True
    except OSError:
        return False


# --- numbers --------------------------------------------------------------------------------------------


def test_each_port_has_a_free_number_of_its_own(numbers) -> None:
    specs = numbers.specs([port("a"), port("b", address="127.0.0.1"), port("c", protocol="imap")])
    given = [spec.number for spec in specs]
    assert len(set(given)) == 3
    assert all(can_listen(number, address) for number in given for address in ("127.0.0.1", "::1"))
    assert [(spec.name, spec.address, spec.protocol) for spec in specs] == [
        ("a", "::1", "smtp"),
        ("b", "127.0.0.1", "smtp"),
        ("c", "::1", "imap"),
    ]


def test_a_port_keeps_its_number(numbers) -> None:
    first = numbers.specs([port("a")])
    assert numbers.specs([port("b"), port("a")])[1] == first[0]


@pytest.mark.parametrize("names", [["a", "b", "c"], ["c", "b", "a"]])
def test_a_number_can_be_another_ports_even_by_a_detour(numbers, names) -> None:
    ports = {"a": port("a"), "b": port("b", "a", "127.0.0.1"), "c": port("c", "b", "127.0.0.2")}
    specs = numbers.specs([ports[name] for name in names])
    assert len({spec.number for spec in specs}) == 1
    assert specs[0].number > 0


def test_a_port_that_comes_later_can_have_the_number_of_an_earlier_one(numbers) -> None:
    (first,) = numbers.specs([port("a")])
    (later,) = numbers.specs([port("b", "a", "127.0.0.1")])
    assert later.number == first.number


def test_the_number_of_a_shipped_port_is_known(numbers) -> None:
    numbers.know("smtp", 2525)
    (later,) = numbers.specs([port("b", "smtp", "127.0.0.1")])
    assert later.number == 2525


def test_a_number_in_use_is_held_until_it_is_released(numbers) -> None:
    (spec,) = numbers.specs([port("taken", "in_use")])
    assert numbers.taken == {"taken"}
    assert not can_listen(spec.number)
    numbers.release()
    assert can_listen(spec.number)


@pytest.mark.parametrize("names", [["taken", "same"], ["same", "taken"]])
def test_a_number_in_use_can_be_shared(numbers, names) -> None:
    ports = {"taken": port("taken", "in_use"), "same": port("same", "taken", "127.0.0.1")}
    specs = numbers.specs([ports[name] for name in names])
    assert specs[0].number == specs[1].number > 0


# --- the configuration ----------------------------------------------------------------------------------


def test_the_shipped_configuration(numbers) -> None:
    shipped = scenario().model_copy(update={"server": "default"})
    assert configuration(shipped, numbers) == Configuration(default=True)


def test_a_server_of_its_own(numbers) -> None:
    made = configuration(
        scenario(
            ports=[port().model_dump()],
            ip_ranges=[{"name": "Mine", "lower": "::1", "upper": "::1", "allow": ["smtp"], "priority": 30}],
            limits={"smtp": 3},
            accounts=[{"address": "a@example.org", "password": "geheim"}],
            host={"ipv6": False},
        ),
        numbers,
    )
    assert made.ip_ranges == (RangeSpec(name="Mine", lower="::1", upper="::1", allow=("smtp",), priority=30),)
    assert (made.limits.smtp, made.limits.pop3) == (3, 0)
    assert [(one.address, one.password) for one in made.accounts] == [("a@example.org", "geheim")]
    assert (made.host.ipv6, made.default) == (False, False)
    assert made.ports[0].number > 0


def test_no_ranges_are_not_an_empty_list(numbers) -> None:
    assert configuration(scenario(), numbers).ip_ranges is None
    assert configuration(scenario(ip_ranges=[]), numbers).ip_ranges == ()


def test_a_range_is_handed_on_with_every_field() -> None:
    fields = set(model.IpRange.model_fields)
    assert fields == set(RangeSpec.model_fields)
    unusual = model.IpRange(
        name="Mine",
        priority=77,
        lower="::1",
        upper="::2",
        allow=("imap",),
        deliver=("local_to_local",),
        require_auth=(),
        require_tls_for_auth=True,
        spam_protection=False,
        virus_protection=False,
    )
    spec = range_spec(unusual, NOW)
    assert {name for name in fields if getattr(spec, name) != getattr(unusual, name)} == {"expires"}


@pytest.mark.parametrize(
    ("word", "expires"),
    [
        ("never", None),
        ("past", "2026-06-15 22:30:00"),
        ("future", "2026-06-16 00:30:00"),
        ("2030-01-02 03:04:05", "2030-01-02 03:04:05"),
    ],
)
def test_the_expiry_is_a_time(word, expires) -> None:
    assert range_spec(model.IpRange(name="M", lower="::", upper="::", expires=word), NOW).expires == expires


# --- changes --------------------------------------------------------------------------------------------


BEFORE = Configuration(
    ports=(PortSpec(name="door", protocol="smtp", address="::1", number=2525),),
    ip_ranges=(
        RangeSpec(name="One", lower="::1", upper="::1"),
        RangeSpec(name="Two", lower="::2", upper="::2"),
    ),
    limits=LimitsSpec(smtp=5),
)


def after(numbers, **change):
    return changed(BEFORE, model.Change.model_validate(change), numbers)


def test_ranges_are_added_replaced_and_deleted(numbers) -> None:
    made = after(
        numbers,
        add_ip_ranges=[{"name": "Three", "lower": "::3", "upper": "::3"}],
        replace_ip_ranges=[{"name": "One", "lower": "::", "upper": "::9"}],
        delete_ip_ranges=["Two"],
    )
    assert [(one.name, one.upper) for one in made.ip_ranges or ()] == [("One", "::9"), ("Three", "::3")]
    assert (made.ports, made.limits) == (BEFORE.ports, BEFORE.limits)


def test_ports_are_added_and_deleted(numbers) -> None:
    made = after(numbers, add_ports=[port("more", address="127.0.0.1").model_dump()], delete_ports=["door"])
    assert [one.name for one in made.ports] == ["more"]
    assert made.ip_ranges == BEFORE.ip_ranges


def test_limits_are_replaced(numbers) -> None:
    made = after(numbers, limits={"imap": 2})
    assert (made.limits.smtp, made.limits.imap) == (0, 2)
    assert made.ip_ranges == BEFORE.ip_ranges


def test_where_there_were_no_ranges_a_change_makes_some(numbers) -> None:
    before = Configuration()
    assert changed(before, model.Change(limits=model.Limits()), numbers).ip_ranges is None
    three = model.IpRange(name="Three", lower="::3", upper="::3")
    made = changed(before, model.Change(add_ip_ranges=(three,)), numbers)
    assert [one.name for one in made.ip_ranges or ()] == ["Three"]


def test_an_expiry_in_a_change_is_a_time_of_now(numbers) -> None:
    made = after(numbers, add_ip_ranges=[{"name": "T", "lower": "::3", "upper": "::3", "expires": "future"}])
    assert made.ip_ranges is not None
    moment = datetime.strptime(str(made.ip_ranges[-1].expires), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert timedelta(minutes=50) < moment - datetime.now(UTC) <= timedelta(hours=1)
