from .calls import Call as Call
from .calls import Given as Given
from .calls import Returned as Returned
from .calls import Skipped as Skipped
from .engine import train as train
from .entries import Entries as Entries
from .entries import Kept as Kept
from .fixtures import check_fixtures as check_fixtures
