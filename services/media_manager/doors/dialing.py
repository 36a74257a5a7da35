"""Evercall connects to an application: what the flow action `external_media_start` asks for."""

from evercall.contracts.media import MediaAccepted, MediaConnect


class Dialer:
    """Opens streams towards applications."""

    async def connect(self, request: MediaConnect) -> MediaAccepted:
        raise NotImplementedError(request)
