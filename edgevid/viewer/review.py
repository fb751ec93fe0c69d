"""The review page: verdicts are shown by track and decided by keyboard; its requests are answered here."""

from typing import Any

from edgevid.errors import InputError, require
from edgevid.insight.review import Review, audit_text
from edgevid.viewer.security import is_operator
from edgevid.viewer.serve import json_of, make_app

TABLES = {"items": "SELECT * FROM items ORDER BY utc, id",
          "decisions": "SELECT * FROM decisions WHERE id > ?", "agreement": "SELECT text FROM agreements",
          "second": "SELECT id FROM second_pass", "count": "SELECT count(*) AS items FROM items",
          "ratings": "SELECT * FROM ratings"}  # fmt: skip
BLIND = ("label", "scores", "confidence")  # What a blind reviewer does not get


def review_app(review: Review) -> Any:
    """The ASGI application of the page, to be served alone or mounted; MissingExtraError without the extra `viewer`."""
    require("starlette", extra="viewer", purpose="The review page")
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    def rows(request: Request) -> Response:
        name, query = request.path_params["name"], request.query_params
        if name == "audit":
            return JSONResponse(audit_text(review))
        if name == "role":
            return JSONResponse({"operator": is_operator(request.scope)})
        if name in ("items", "count") and review.scan():
            review.group()
        found = review.rows(TABLES.get(name, "SELECT 1 WHERE 0"), *[query.get("after", "0")] * (name == "decisions"))
        hidden = {"source", *(BLIND if "blind" in query else ())}
        return JSONResponse([row | dict.fromkeys(hidden & row.keys()) for row in found])

    async def decide(request: Request) -> Response:
        sent = await json_of(request)
        call: Any = review.decide if "labels" in sent else review.undo
        try:
            return JSONResponse(await run_in_threadpool(call, **sent))
        except (TypeError, AttributeError) as error:  # other keys, or other types
            raise InputError(f"review: expected a decision, got {sent}: {error}") from None

    def media(request: Request) -> Response:
        found = review.rows("SELECT crop, film, clip FROM items WHERE id = ?", request.path_params["item"])
        name = found[0].get(request.path_params["kind"]) if found else None
        path = (review.folder / (name or "-")).resolve()
        if not path.is_relative_to(review.folder.resolve()) or not path.is_file():
            return JSONResponse({"error": "there is no such file"}, 404)
        return FileResponse(path)

    return make_app("review.html", [Route("/api/review", decide, methods=["POST"]), Route("/api/review/{name}", rows),
                                    Route("/media/{kind}/{item:path}", media)])  # fmt: skip
