"""Pages served to a browser: the overlay viewer of `edgevid-demo`, and the calibration page.

They need the extra `viewer` (starlette, uvicorn, websockets): docs/viewer.md.
"""
