"""What a library may name: predicates, controllers and things. Closed; a patch cannot add to it.

PREDICATES["wanted"].test(view, ONION)
CONTROLLERS["take"].act(view, "onion")
"""

from planish.methods.cowork.acting.controllers import CONTROLLERS, Controller
from planish.methods.cowork.acting.predicates import PREDICATES, THINGS, Predicate

__all__ = ["CONTROLLERS", "PREDICATES", "THINGS", "Controller", "Predicate"]
