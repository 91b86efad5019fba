import { createServer, request as forward } from "node:http";
import { gzipSync } from "node:zlib";
import { expect, openMenu, PASSWORD, Server, test } from "./server";

test("the first load of the sign-in is at most 25 KB in one request, 10 KB compressed, from this host alone", async ({
  browser,
  server,
}) => {
  for (const locale of ["en-GB", "ar-SA"]) {
    const context = await browser.newContext({ locale, extraHTTPHeaders: { "Accept-Encoding": "gzip" } });
    const page = await context.newPage();
    let [bytes, typeface] = [0, 0];
    const hosts = new Set<string>();
    const needed: string[] = [];
    const counted: Promise<void>[] = [];
    page.on("response", (response) => {
      hosts.add(new URL(response.url()).host);
      if (["document", "script", "stylesheet"].includes(response.request().resourceType()))
        needed.push(new URL(response.url()).pathname);
      if (!response.url().includes("/auth/"))
        counted.push(
          response
            .request()
            .sizes()
            .then((sizes) => {
              if (response.url().endsWith(".woff2")) typeface += sizes.responseBodySize;
              else bytes += sizes.responseBodySize;
            }),
        );
    });
    await page.goto(`${server.url}/login`);
    await page.locator('input[name="password"]').waitFor();
    await page.evaluate(() => document.fonts.ready.then(() => {}));
    await Promise.all(counted);
    expect(bytes).toBeGreaterThan(5_000);
    // With the icon, and before compression.
    expect(bytes).toBeLessThanOrEqual(25_000);
    expect(gzipSync(await page.content()).length).toBeLessThanOrEqual(10_000);
    // What the page needs to be shown is in it.
    expect(needed).toEqual(["/login"]);
    // It comes beside the page, which can be read and used without it.
    expect(typeface).toBeGreaterThan(10_000);
    expect(typeface).toBeLessThanOrEqual(70_000);
    expect([...hosts]).toEqual([new URL(server.url).host]);
    await context.close();
  }
});

test("behind a proxy that serves it below a path", async ({ page }) => {
  let target = 0;
  const proxy = createServer((incoming, outgoing) => {
    const path = incoming.url ?? "/";
    if (!path.startsWith("/identity/")) {
      outgoing.writeHead(404).end("not this service");
      return;
    }
    const passed = forward(
      {
        host: "127.0.0.1",
        port: target,
        path: path.slice("/identity".length),
        method: incoming.method,
        headers: incoming.headers,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    passed.on("error", () => outgoing.writeHead(502).end());
    incoming.pipe(passed);
  });
  await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
  const address = proxy.address();
  const port = address && typeof address === "object" ? address.port : 0;
  const place = `http://localhost:${port}/identity`;
  const server = new Server(await Server.freePort(), { PUBLIC_URL: place });
  target = server.port;
  await server.start();
  try {
    server.createUser("below@example.com");
    await page.goto(`${place}/account/activity`);
    await expect(page).toHaveURL(`${place}/login?return_to=%2Fidentity%2Faccount%2Factivity`);
    await page.getByLabel("Email address").fill("below@example.com");
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page).toHaveURL(`${place}/account/activity`);
    await page.reload();
    await expect(page.getByRole("heading", { level: 1, name: "Activity" })).toBeVisible();
    await page.getByRole("link", { name: "Sessions" }).click();
    await expect(page).toHaveURL(`${place}/account/sessions`);
    await openMenu(page);
    await page.getByRole("button", { name: "العربية" }).click();
    await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
    await page.reload();
    await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
  } finally {
    await server.end();
    proxy.close();
    proxy.closeAllConnections();
  }
});

test("the viewer of the API's document comes out of the binary", async ({ page, server }) => {
  const hosts = new Set<string>();
  page.on("request", (request) => hosts.add(new URL(request.url()).host));
  await page.goto(`${server.url}/docs`);
  await expect(page.getByText("/auth/login").first()).toBeVisible();
  expect([...hosts]).toEqual([new URL(server.url).host]);

  // Dark where the system is, and the choice is that of the other pages.
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: "light" });
  const light = await background();
  await page.emulateMedia({ colorScheme: "dark" });
  await expect.poll(background).not.toBe(light);
  await page.getByRole("button", { name: "Light" }).click();
  await expect.poll(background).toBe(light);
  expect(await page.evaluate(() => localStorage.getItem("josoor_theme"))).toBe("light");
  await page.reload();
  await expect.poll(background).toBe(light);

  // The product's name, and a way back.
  await expect(page.getByRole("link", { name: "JOSOOR" }).first()).toBeVisible();
  await page.getByRole("link", { name: "العربية" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "مرجع واجهة البرمجة" })).toBeVisible();
  await expect(page.getByText("/auth/login").first()).toBeVisible();
  await page.getByRole("link", { name: "حسابي" }).click();
  await expect(page).toHaveURL(/\/login|\/account/);
});
