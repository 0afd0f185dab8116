from . import kinds as kinds
from .dataset import Data as Data
from .dataset import Split as Split
from .grouping import attributes_named as attributes_named
from .grouping import check_groups as check_groups
from .grouping import check_minimum as check_minimum
from .grouping import grouped as grouped
from .query import matching_rows as matching_rows
