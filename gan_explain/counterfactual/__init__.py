"""From a radiograph to structure, layer and code, and along a line of them: what everything else asks for counterfactuals."""

from gan_explain.counterfactual.counterfactual import Counterfactual, counterfactual
from gan_explain.counterfactual.disentangle import Disentangled, disentangle, laid
from gan_explain.counterfactual.pathology import PATHOLOGIES, Pathology, choose
from gan_explain.counterfactual.radiograph import Radiograph, read_radiograph
from gan_explain.counterfactual.respond import positive_probability, respond
from gan_explain.counterfactual.traversal import Traversal, load_traversal
from gan_explain.counterfactual.traverse import even_strengths, traverse

__all__ = [
    "PATHOLOGIES",
    "Counterfactual",
    "Disentangled",
    "Pathology",
    "Radiograph",
    "Traversal",
    "choose",
    "counterfactual",
    "disentangle",
    "even_strengths",
    "laid",
    "load_traversal",
    "positive_probability",
    "read_radiograph",
    "respond",
    "traverse",
]
