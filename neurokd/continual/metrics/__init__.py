"""Metrics of continual learning, one a file: pure functions on arrays."""

from neurokd.continual.metrics.accuracy_matrix import accuracy_matrix
from neurokd.continual.metrics.average_accuracy import average_accuracy
from neurokd.continual.metrics.backward_transfer import backward_transfer
from neurokd.continual.metrics.dead_neurons import dead_neurons
from neurokd.continual.metrics.divergence import divergence
from neurokd.continual.metrics.entropy import activation_entropy, entropy_ceiling
from neurokd.continual.metrics.forgetting import forgetting
from neurokd.continual.metrics.forward_transfer import forward_transfer
from neurokd.continual.metrics.jaccard import jaccard, most_active
from neurokd.continual.metrics.normalised_entropy import normalised_entropy
from neurokd.continual.metrics.row_cosine import row_cosine
from neurokd.continual.metrics.shared_neurons import shared_neurons
from neurokd.continual.metrics.summary import summarise_stream
from neurokd.continual.metrics.validation_accuracy import validation_accuracy

__all__ = [
    "accuracy_matrix",
    "activation_entropy",
    "average_accuracy",
    "backward_transfer",
    "dead_neurons",
    "divergence",
    "entropy_ceiling",
    "forgetting",
    "forward_transfer",
    "jaccard",
    "most_active",
    "normalised_entropy",
    "row_cosine",
    "shared_neurons",
    "summarise_stream",
    "validation_accuracy",
]
