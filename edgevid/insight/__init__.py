"""What many tracks or series have in common: clusters, and the rare groups among them."""

from edgevid.insight.cluster import Clustering, ClusterLabels, Clusters, cluster, read_clusters
from edgevid.insight.review import Review, audit_text, export_labels
from edgevid.insight.sources import SeriesChunk, read_series

__all__ = ["ClusterLabels", "Clustering", "Clusters", "Review", "SeriesChunk", "audit_text", "cluster", "export_labels",
           "read_clusters", "read_series"]  # fmt: skip
