from .classification import Classification as Classification
from .task import Loss as Loss
from .task import Task as Task
