"""Pages that edgevid serves to a browser: the overlay viewer of `edgevid-demo`, and the survey page.

They need the extra `viewer` (starlette, uvicorn, websockets); docs/viewer.md describes them.
"""
