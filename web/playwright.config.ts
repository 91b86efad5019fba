import { defineConfig } from "@playwright/test";

/**
 * Against the real binary, with the browser of the system (`CHROMIUM`, or Debian's). All journeys run on SQLite alone and on
 * PostgreSQL with Redis; what only concerns appearance runs once.
 */
export default defineConfig({
  testDir: "e2e",
  outputDir: "../target/e2e/results",
  timeout: 60_000,
  expect: { timeout: 10_000 },
  workers: 2,
  // A browser on a busy machine may stumble once; what fails twice is broken, and what stumbles is listed as flaky.
  retries: process.env.CI ? 1 : 0,
  forbidOnly: !!process.env.CI,
  reporter: [["list"]],
  use: {
    actionTimeout: 10_000,
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
  projects: [
    { name: "sqlite", metadata: { footprint: "sqlite" } },
    {
      name: "postgres_redis",
      metadata: { footprint: "postgres_redis" },
      testIgnore: /(appearance|branding|delivery|field|guides|pictures)\.spec\.ts/,
    },
  ],
});
