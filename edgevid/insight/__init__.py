"""What many tracks or series have in common: clusters, and the rare groups among them."""

from edgevid.insight.cluster import Clustering, Clusters, cluster, read_clusters
from edgevid.insight.cluster_labels import ClusterLabels
from edgevid.insight.sources import SeriesChunk, read_series

__all__ = ["ClusterLabels", "Clustering", "Clusters", "SeriesChunk", "cluster", "read_clusters", "read_series"]
