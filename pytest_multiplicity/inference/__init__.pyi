from .counts import Work as Work
from .logits import Logits as Logits
from .logits import Reader as Reader
from .models import Models as Models
