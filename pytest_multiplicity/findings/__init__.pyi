from .assemble import assemble as assemble
from .records import GateRecord as GateRecord
from .records import Ledger as Ledger
from .records import PairRecord as PairRecord
