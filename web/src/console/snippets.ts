/** How applications of each kind use the service; the address of this one is filled in. */
export const SNIPPETS: [name: string, file: string, text: (service: string) => string][] = [
  [
    "React",
    "main.tsx",
    (service) => `import { createAuthClient } from "@josoor/auth";
import { AuthProvider, LoginForm, ProtectedRoute, UserButton } from "@josoor/auth/react";
import "@josoor/auth/react.css";

const auth = createAuthClient({ baseUrl: "${service}" });

export const App = () => (
  <AuthProvider client={auth}>
    {location.pathname === "/login" ? (
      <LoginForm forgotPath="${service}/forgot-password" />
    ) : (
      <ProtectedRoute>
        <UserButton accountPath="${service}/account" />
      </ProtectedRoute>
    )}
  </AuthProvider>
);`,
  ],
  [
    "FastAPI",
    "main.py",
    (service) => `import httpx
from fastapi import Depends, FastAPI, Header, HTTPException

service = httpx.AsyncClient(base_url="${service}", timeout=2)
app = FastAPI()


async def current_user(authorization: str = Header("")) -> dict:
    try:
        answer = await service.get("/auth/check", headers={"Authorization": authorization})
    except httpx.TransportError:
        raise HTTPException(503) from None
    if answer.status_code != 200:
        raise HTTPException(answer.status_code if answer.status_code in (401, 403) else 503)
    return {"id": int(answer.headers["X-Auth-User-Id"]), "role": answer.headers["X-Auth-Role"]}


@app.get("/hello")
async def hello(user: dict = Depends(current_user)) -> dict:
    return user`,
  ],
  [
    "Express",
    "app.mjs",
    (service) => `import express from "express";

async function requireUser(req, res, next) {
  const answer = await fetch("${service}/auth/check", {
    headers: { authorization: req.headers.authorization ?? "" },
    signal: AbortSignal.timeout(2000),
  }).catch(() => undefined);
  if (answer?.status !== 200) return res.sendStatus([401, 403].includes(answer?.status) ? answer.status : 503);
  req.user = { id: Number(answer.headers.get("x-auth-user-id")), role: answer.headers.get("x-auth-role") };
  next();
}

const app = express();
app.get("/hello", requireUser, (req, res) => res.json(req.user));
app.listen(9000);`,
  ],
  [
    "nginx",
    "nginx.conf",
    (service) => `location / {
    auth_request /_check;
    auth_request_set $user_id $upstream_http_x_auth_user_id;
    auth_request_set $role $upstream_http_x_auth_role;
    proxy_set_header X-Auth-User-Id $user_id;
    proxy_set_header X-Auth-Role $role;
    proxy_pass http://127.0.0.1:9000;
}
location = /_check {
    internal;
    proxy_pass ${service}/auth/check;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
}
# deploy/gateways/nginx removes other spellings of these headers, too: use it in production.`,
  ],
];
