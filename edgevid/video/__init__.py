"""Frames from files, folders of images, cameras, streams and arrays, each with the stream's own times."""
