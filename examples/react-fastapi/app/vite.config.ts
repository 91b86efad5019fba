import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  server: {
    port: 5173,
    strictPort: true,
    // The back end has the page's origin, so its requests need no CORS and carry the token.
    proxy: { "/api": process.env.API_URL ?? "http://localhost:9000" },
  },
});
