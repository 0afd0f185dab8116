from .data import Data as Data
from .design import runs as runs
from .errors import MultiplicityError as MultiplicityError
from .evaluation import Candidate as Candidate
from .evaluation import Gap as Gap
from .evaluation import Incumbent as Incumbent
from .evaluation import Score as Score
from .evaluation import Survivors as Survivors
from .evaluation import cascade as cascade
from .interventions import PGD as PGD
from .interventions import Attack as Attack
from .interventions import Corrupt as Corrupt
from .interventions import Group as Group
from .interventions import InputNoise as InputNoise
from .interventions import OutputNoise as OutputNoise
from .interventions import intervention as intervention
from .interventions import strategies as strategies
from .keeping import load as load
from .plugin.fixtures import answers as answers
from .plugin.fixtures import family as family
from .plugin.fixtures import incumbent as incumbent
from .plugin.fixtures import recorded as recorded
from .statistics import Sheet as Sheet
from .training import Recipe as Recipe

__version__: str
