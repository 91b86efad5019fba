"""Starts the workers: `python serve.py`. README.md, one folder up, says what the environment may set."""

import os
import secrets

import uvicorn

if __name__ == "__main__":
    # Made here and inherited: a token that one worker signs must be good in the others.
    os.environ["JWT_SECRET"] = os.environ.get("JWT_SECRET") or secrets.token_urlsafe(32)
    uvicorn.run(
        "app:app",
        host="127.0.0.1",
        port=int(os.environ.get("PORT") or "8000"),
        workers=int(os.environ.get("WORKERS") or "2"),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
