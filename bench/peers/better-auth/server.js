import cluster from "node:cluster";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";

// Made before auth.js is read, and handed down: a session that one process signs must be good in the others.
process.env.BETTER_AUTH_SECRET ||= randomBytes(32).toString("base64url");
process.env.NODE_ENV ||= "production";
const { auth, pool, port } = await import("./auth.js");

async function migrate() {
  const { getMigrations } = await import("better-auth/db/migration");
  const { runMigrations } = await getMigrations(auth.options);
  await runMigrations();
  await pool.end();
}

async function serve() {
  const { toNodeHandler } = await import("better-auth/node");
  createServer(toNodeHandler(auth)).listen(port, "127.0.0.1");
}

if (cluster.isPrimary) {
  // Here, because two processes that migrate at once would get in each other's way.
  await migrate();
  const workers = Number(process.env.WORKERS || "2");
  let listening = 0;
  cluster.on("listening", () => {
    listening += 1;
    if (listening === workers) console.log(`${workers} workers listen on http://127.0.0.1:${port}`);
  });
  // A run with fewer workers than it says would be worth nothing, so the rest ends too. No handler is needed for the
  // other direction: workers end by themselves when the primary is gone.
  cluster.on("exit", (worker, code, signal) => {
    console.error(`worker ${worker.process.pid} ended (${signal ?? code})`);
    process.exit(1);
  });
  for (let i = 0; i < workers; i += 1) cluster.fork();
} else {
  await serve();
}
