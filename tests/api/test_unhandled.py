"""An error that nobody foresaw still has the envelope and the request's id."""

import httpx

from api.main import create_app
from tests.rig import Rig


async def test_an_unforeseen_error_is_enveloped_and_can_be_found_in_the_log(rig: Rig) -> None:
    app = create_app(rig.settings())

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("a secret detail")

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/broken", headers={"x-request-id": "mine"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "mine"
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
