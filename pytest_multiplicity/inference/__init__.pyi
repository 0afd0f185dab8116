from .counts import Counts as Counts
from .logits import Logits as Logits
from .logits import Reader as Reader
from .made import common_data as common_data
from .models import Models as Models
from .question import Asked as Asked
from .question import Under as Under
from .question import ask as ask
