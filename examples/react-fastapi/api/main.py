import os
from typing import Annotated

import httpx
import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

SERVICE = os.environ["JOSOOR_AUTH_URL"]
SECRET = os.environ["JWT_SECRET"]
REFUSED = {401: "Sign in again.", 403: "Your role does not allow this."}

app = FastAPI()
service = httpx.AsyncClient(base_url=SERVICE, timeout=2)
Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


def require(role: str):
    """The signed-in user, who must have at least this role."""

    async def current_user(bearer: Bearer) -> dict:
        try:
            # The clocks of two machines differ; without a leeway a token from "the future" is refused.
            jwt.decode(bearer.credentials, SECRET, algorithms=["HS256"], issuer=SERVICE, leeway=60)
        except jwt.InvalidTokenError:
            raise HTTPException(401, "The token is not valid.") from None
        try:
            answer = await service.get(
                "/auth/check", params={"role": role}, headers={"Authorization": f"Bearer {bearer.credentials}"}
            )
        except httpx.TransportError:
            raise HTTPException(503, "The sign-in service does not answer.") from None
        if answer.status_code != 200:
            status = answer.status_code if answer.status_code in REFUSED else 503
            raise HTTPException(status, REFUSED.get(status, "The sign-in service does not answer."))
        return {"id": int(answer.headers["X-Auth-User-Id"]), "role": answer.headers["X-Auth-Role"]}

    return current_user


@app.get("/api/hello")
async def hello(user: Annotated[dict, Depends(require("user"))]) -> dict:
    return user


@app.get("/api/reports")
async def reports(user: Annotated[dict, Depends(require("analyst"))]) -> dict:
    return user
