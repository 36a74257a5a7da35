from evercall.service.logging import MASK, mask_personal


def test_personal_values_are_masked_and_their_keys_stay() -> None:
    event = {"event": "call_started", "pii_number": "+491234567", "pii_empty": "", "calls": 3}
    assert mask_personal(None, "info", event) == {
        "event": "call_started",
        "pii_number": MASK,
        "pii_empty": "",
        "calls": 3,
    }
