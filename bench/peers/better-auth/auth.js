import { redisStorage } from "@better-auth/redis-storage";
import bcrypt from "bcrypt";
import { betterAuth } from "better-auth";
import { Redis } from "ioredis";
import pg from "pg";

function setting(name, fallback) {
  const value = process.env[name] || fallback;
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

// A mode that is misspelt must not be measured as the default one.
function oneOf(name, values) {
  const value = setting(name, values[0]);
  if (!values.includes(value)) throw new Error(`${name} is ${value}; it can be ${values.join(", ")}`);
  return value;
}

export const port = Number(setting("PORT", "3000"));
const sessions = oneOf("SESSIONS", ["database", "cookie-cache", "redis"]);
const passwordHash = oneOf("PASSWORD_HASH", ["scrypt", "bcrypt"]);

export const pool = new pg.Pool({ connectionString: setting("DATABASE_URL") });

export const auth = betterAuth({
  baseURL: `http://127.0.0.1:${port}`,
  secret: setting("BETTER_AUTH_SECRET"),
  database: pool,
  // lazyConnect: the primary process reads this file too, but never asks Redis.
  secondaryStorage:
    sessions === "redis" ? redisStorage({ client: new Redis(setting("REDIS_URL"), { lazyConnect: true }) }) : undefined,
  session: { cookieCache: { enabled: sessions === "cookie-cache" } },
  emailAndPassword: {
    enabled: true,
    password:
      passwordHash === "bcrypt"
        ? {
            hash: (password) => bcrypt.hash(password, 12),
            verify: ({ hash, password }) => bcrypt.compare(password, hash),
          }
        : undefined,
  },
  // All requests of a benchmark come from one address.
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { level: "error" },
});
