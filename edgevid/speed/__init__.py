"""Speed over the ground: camera calibration, contact points, estimators."""
