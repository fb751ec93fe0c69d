"""The stream of motion of a two-stream recognizer (Simonyan and Zisserman, "Two-Stream Convolutional Networks", NIPS
2014): optical flow between the crops of an object, as histograms of its directions or through a network of flow."""

from itertools import pairwise

import numpy as np

from edgevid._opencv import cv2
from edgevid.actions.features import FeatureExtractor
from edgevid.types import F32, U8, Array

HOF = "hof"  # Stands for the histograms in the place of a network
SIDE, CELLS, BINS = 112, 4, 8  # Longer side of the images of histograms, cells along each axis, directions of a cell


def crop_flow(crops: U8, boxes: F32, size: tuple[int, int]) -> F32:
    """(M, T - 1, h, w, 2) by how many pixels of an image of `size` (w, h) each place moves until the next step (DIS:
    Kroeger et al., ECCV 2016), of crops (M, T, ...) that show `boxes` (M, T, 4). The earlier crop is first shifted to
    where the later one was cut, so that a box that moves is no motion; nor is the median, which a camera causes."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    method.setFinestScale(1)  # at the preset's 2 a part of 28 pixels moves by less than half of what it does
    flow = np.zeros((len(crops), crops.shape[1] - 1, *size[::-1], 2), np.float32)
    for row, (clip, shown) in enumerate(zip(crops, boxes, strict=True)):
        gray = [cv2.resize(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA) for one in clip]
        for step, (before, after) in enumerate(pairwise(gray)):
            old, new = shown[step].reshape(2, 2), shown[step + 1].reshape(2, 2)
            if not np.array_equal(old, new):
                scale = (new[1] - new[0]) / (old[1] - old[0])
                shift = (new[0] - old[0]) / (old[1] - old[0]) * size + (scale - 1) / 2
                matrix, flags = np.column_stack((np.diag(scale), shift)), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                before = cv2.warpAffine(before, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            method.calc(before, after, flow[row, step])  # in place
    return np.asarray(flow - np.median(flow, axis=(2, 3), keepdims=True), np.float32)


class FlowHistograms:
    """Histograms of the directions of flow since the moment before (HOF: Laptev et al., "Learning realistic human
    actions from movies", CVPR 2008), in a grid of cells: square roots of shares of the image's side."""

    steps, width = 2, CELLS * CELLS * BINS

    def extract(self, crops: Array, boxes: Array) -> Array:
        """(M, 128) float32 of clips (M, T, h, w, 3) that show `boxes` (M, T, 4)."""
        scale = SIDE / max(crops.shape[2:4])
        height, width = (max(round(scale * side), 16) for side in crops.shape[2:4])
        flow = crop_flow(crops[:, -2:], boxes[:, -2:], (width, height))[:, 0]
        turn = np.round(np.arctan2(flow[..., 1], flow[..., 0]) * (BINS / (2 * np.pi))).astype(int) % BINS
        cell = (np.arange(height) * CELLS // height)[:, None] * CELLS + np.arange(width) * CELLS // width
        at = (np.arange(len(flow))[:, None, None] * CELLS**2 + cell) * BINS + turn
        total = np.bincount(at.ravel(), np.hypot(flow[..., 0], flow[..., 1]).ravel(), len(flow) * self.width)
        share = total.reshape(-1, self.width) * (CELLS**2 / (height * width * max(height, width)))
        return np.asarray(np.sqrt(share), np.float32)


class TwoStreamExtractor(FeatureExtractor):
    """Features of the image or the clip, then those of its flow."""

    def __init__(self, spatial: FeatureExtractor, temporal: FlowHistograms | FeatureExtractor) -> None:
        self.streams, self.recipe = (spatial, temporal), spatial.recipe
        self.steps = max(spatial.steps, temporal.steps)
        self.raw_width = self.width = spatial.width + temporal.width

    def extract(self, crops: Array, boxes: Array) -> Array:
        """(M, D) float32 features of clips (M, T, h, w, 3) that show `boxes` (M, T, 4)."""
        taken = [slice(-one.steps, None) if one.steps else -1 for one in self.streams]
        made = [one.extract(crops[:, at], boxes[:, at]) for one, at in zip(self.streams, taken, strict=True)]
        return np.concatenate(made, axis=1)
