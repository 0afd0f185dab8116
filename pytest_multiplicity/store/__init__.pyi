from .files import Entry as Entry
from .fingerprint import fingerprint as fingerprint
from .store import Item as Item
from .store import Store as Store
from .store import StoreWarning as StoreWarning
from .store import Usage as Usage
