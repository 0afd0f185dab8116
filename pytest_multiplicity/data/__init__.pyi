from .checks import check_classes as check_classes
from .dataset import Data as Data
from .dataset import Split as Split
from .leakage import sample_digests as sample_digests
from .leakage import shared_samples as shared_samples
from .query import matching_rows as matching_rows
