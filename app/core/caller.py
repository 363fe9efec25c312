"""Who asks: what the key of a request allows."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a key may do; each may also do what those before it may."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a key. `tenant`: the label of its tasks; None is a tenant like any other."""

    name: str
    role: Role
    tenant: str | None

    def sees(self, tenant: str | None) -> bool:
        """Whether what belongs to this tenant is there at all for the caller."""
        return self.role is Role.ADMIN or self.tenant == tenant


# Where no keys are configured.
EVERYBODY = Caller("", Role.ADMIN, None)
