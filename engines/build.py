#!/usr/bin/env python3
"""The TensorRT build script: `python engines/build.py MODEL --precision fp16 --data VIDEO`.

The same as `edgevid build` and `edgevid-build`; --help lists the choices, docs/engines.md tells the story.
"""

from edgevid.cli import build_main

if __name__ == "__main__":
    build_main()
