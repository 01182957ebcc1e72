"""How the verbs' help is shown."""

from typing import Final

# Help texts are shown as they are written. Markup would take `<id>` and `[USER…]` for tags and drop them.
PLAIN: Final = None
