"""What a zone may say."""

from __future__ import annotations

import pytest

from conformance.peers.dns_messages import problem
from conformance.peers.names import Records


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({"A": "192.0.2.1", "AAAA": "2001:db8::1", "MX": "0 .", "TXT": "a b"}, ""),
        ({"CNAME": "other.test"}, ""),
        ({}, ""),
        ({"A": "2001:db8::1"}, "'2001:db8::1' is no A record"),
        ({"AAAA": "192.0.2.1"}, "'192.0.2.1' is no AAAA record"),
        ({"MX": "mx.test"}, "'mx.test' is no MX record"),
        ({"CNAME": "a..b"}, "'a..b' is no CNAME record"),
        ({"CNAME": "other.test", "A": "192.0.2.1"}, "a name with a CNAME has nothing else"),
    ],
)
def test_what_is_wrong_with_records(records, words) -> None:
    found = problem("one.test", Records.model_validate(records))
    assert found.startswith(words) if words else found == ""
