"""What becomes of an interface that no HostEndpoint names, in words of consequence."""

from hostfw.model.settings import Settings, Unmanaged
from hostfw.model.values import TCP


def consequence(settings: Settings) -> str:
    """What new connections by such an interface meet, as the rest of a sentence about it."""
    unmanaged, failsafe = settings.unmanaged_interfaces, settings.failsafe
    # Failsafes of UDP let in answers to the host, and no service of it.
    inward = _meets("to", unmanaged.ingress, [str(port) for port in failsafe.inbound if port.protocol == TCP])
    outward = _meets("from", unmanaged.egress, [str(port) for port in failsafe.outbound])
    return inward if unmanaged.egress is Unmanaged.ALLOW else f"{inward}, and {outward}"


def _meets(way: str, verdict: Unmanaged, failsafes: list[str]) -> str:
    if verdict is Unmanaged.ALLOW:
        return f"new connections {way} it pass whatever policies say"
    kept = f" except failsafe {', '.join(failsafes)}" if failsafes else ""
    return f"new connections {way} it are denied{kept}"
