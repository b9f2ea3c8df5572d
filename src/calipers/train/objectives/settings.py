"""Settings that every objective has."""

from pydantic import BaseModel, ConfigDict

from calipers.train.objective import Loss, Minimised
from calipers.train.penalties import Penalties
from calipers.train.penalties.penalised import Penalised


class LossSettings(BaseModel):
    """penalties: terms on top of the loss, each a table with its `name`, its `weight` and its own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    penalties: Penalties = ()

    def penalised(self, loss: Loss) -> Loss:
        """The loss with the penalties on top."""
        return Penalised(loss, self.penalties) if self.penalties else loss

    def minimised(self, loss: Loss) -> Minimised:
        """The objective that minimises the loss with the penalties on top."""
        return Minimised(self.penalised(loss))
