from .fingerprint import fingerprint as fingerprint
from .local import LocalStore as LocalStore
from .local import StoreWarning as StoreWarning
from .local import Usage as Usage
from .store import RESULTS_VERSION as RESULTS_VERSION
from .store import Entry as Entry
from .store import Item as Item
from .store import Store as Store
