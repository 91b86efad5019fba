import axios from "axios";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type AuthClient, createAuthClient } from "../src";
import { attachAuth } from "../src/axios";
import { Service } from "./service";

let service: Service;
let client: AuthClient;

beforeEach(async () => {
  service = await new Service().start();
  client = createAuthClient({ baseUrl: service.url, storage: "memory", channel: "axios" });
  await client.login({ email: "user@example.com", password: "right" });
});

afterEach(async () => {
  client.dispose();
  await service.stop();
});

it("sends the token, and answers many 401s by one refresh", async () => {
  const api = axios.create({ baseURL: service.url });
  attachAuth(api, client);
  service.expireAll();
  const answers = await Promise.all(Array.from({ length: 20 }, (_, number) => api.post("/chat", { number })));
  expect(answers.map(({ data }) => data.echo.number)).toEqual(Array.from({ length: 20 }, (_, number) => number));
  expect(service.count("/auth/refresh")).toBe(1);
});

it("does not try again for ever, nor for another reason", async () => {
  const api = axios.create({ baseURL: service.url });
  attachAuth(api, client);
  service.instead["/chat"] = Array.from({ length: 2 }, () => ({ status: 401, body: { code: "token_expired" } }));
  await expect(api.get("/chat")).rejects.toMatchObject({ response: { status: 401 } });
  expect(service.count("/chat")).toBe(2);
  service.revoke("session_revoked");
  await expect(api.get("/chat")).rejects.toMatchObject({ response: { status: 401 } });
  expect(client.state).toMatchObject({ status: "signed-out", reason: "session_revoked" });
});

it("answers a demand for a fresh verification with no refresh", async () => {
  const api = axios.create({ baseURL: service.url });
  attachAuth(api, client);
  const headers = { "www-authenticate": 'Bearer error="insufficient_user_authentication", acr_values="2"' };
  service.instead["/chat"] = [
    { status: 401, body: { code: "step_up_required" } },
    { status: 401, headers },
  ];
  for (let round = 0; round < 2; round += 1)
    await expect(api.get("/chat")).rejects.toMatchObject({ response: { status: 401 } });
  expect(service.count("/chat")).toBe(2);
  expect(service.count("/auth/refresh")).toBe(0);
  expect(service.count("/auth/me")).toBe(0);
});

it("is taken off again", async () => {
  const api = axios.create({ baseURL: service.url });
  attachAuth(api, client)();
  await expect(api.get("/chat")).rejects.toMatchObject({ response: { status: 403 } });
});
