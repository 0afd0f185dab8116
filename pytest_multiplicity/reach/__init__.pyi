from .base import Base as Base
from .base import Inverses as Inverses
from .base import OnData as OnData
from .head import head_of as head_of
from .parts import Head as Head
from .polish import polished as polished
from .search import Found as Found
from .search import Reach as Reach
