from .config import Config as Config
from .definition import Built as Built
from .definition import Definition as Definition
from .design import Design as Design
from .design import check_seeds as check_seeds
from .design import make_design as make_design
from .ids import option_text as option_text
from .recorded import Recorded as Recorded
