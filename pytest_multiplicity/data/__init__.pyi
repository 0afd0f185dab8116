from . import kinds as kinds
from .dataset import Data as Data
from .dataset import Split as Split
from .query import matching_rows as matching_rows
