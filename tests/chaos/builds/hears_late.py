"""The fence as it is; and late news of one's own death, as in the weakened builds: what they are compared with."""

from tests.chaos.builds import hear_late

hear_late()
