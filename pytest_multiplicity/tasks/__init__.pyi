from .classification import Classification as Classification
from .measures import Named as Named
from .measures import measure_named as measure_named
from .task import Loss as Loss
from .task import Task as Task
