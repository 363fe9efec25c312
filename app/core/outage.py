"""Says that a service is away, once an outage."""

from dataclasses import dataclass, field

from app.core.events import Emit, ServiceDown, ServiceUp


@dataclass(slots=True)
class Outage:
    """Says once that a service went away, and once that it came back."""

    emit: Emit
    service: str
    doing: str
    is_on: bool = field(default=False, init=False)

    def begin(self, error: BaseException) -> None:
        """The service failed."""
        if not self.is_on:
            self.is_on = True
            self.emit(ServiceDown(self.service, self.doing, str(error)))

    def end(self) -> None:
        """The service worked."""
        if self.is_on:
            self.is_on = False
            self.emit(ServiceUp(self.service, self.doing))
