"""The one error of every limit per customer."""

from evercall.service.errors import RateLimited


def quota_exceeded(quota: str, limit: int, *, retry_after: float = 1.0) -> RateLimited:
    """429 `quota_exceeded`: says which limit of `evercall.contracts.tenant.Quotas` it was, and how much it is.

    Args:
        quota: the field's name in `Quotas`.
        limit: its value for this customer.
        retry_after: seconds until it may be worth asking again.
    """
    return RateLimited(
        "quota_exceeded",
        "The customer's quota is used up",
        details={"quota": quota, "limit": limit, "retry_after": round(retry_after, 3)},
    )
