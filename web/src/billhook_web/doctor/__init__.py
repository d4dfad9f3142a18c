"""``billhook doctor``: looks at everything a host needs and says, for each thing, how it is and how to mend it."""

from billhook_web.doctor.examination import Examination, examine
from billhook_web.doctor.finding import Diagnosis, of_problems

__all__ = ["Diagnosis", "Examination", "examine", "of_problems"]
