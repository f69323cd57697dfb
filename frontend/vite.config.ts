import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const backend = `http://127.0.0.1:${process.env.STUDIO_PORT ?? "8000"}`;

// `npm run dev` beside a running studio: the page from here, everything below /api (sockets too) from there.
// The Origin of our own dev server is rewritten, because the studio takes requests of its own page alone.
export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  base: "/",
  server: {
    proxy: { "/api": { target: backend, ws: true, changeOrigin: true, headers: { origin: backend } } },
  },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    rollupOptions: {
      input: ["index.html", "docs.html"], // the page, and /api/docs
      output: {
        manualChunks(id: string) {
          if (!id.includes("node_modules")) return undefined;
          if (/node_modules\/(react|react-dom|scheduler|react-router)\//.test(id)) return "react";
          if (/node_modules\/(@mantine|@floating-ui)\//.test(id)) return "mantine";
          if (/node_modules\/(@tanstack|openapi-fetch)\//.test(id)) return "query";
          if (id.includes("node_modules/uplot/")) return "uplot";
          return undefined;
        },
      },
    },
  },
  test: {
    // a busy machine is slow, not wrong
    testTimeout: 30_000,
    projects: [
      // what needs a page although it renders nothing says so: `// @vitest-environment happy-dom`
      { extends: true, test: { name: "logic", include: ["src/**/*.test.ts"], environment: "node" } },
      {
        extends: true,
        test: {
          name: "page",
          include: ["src/**/*.test.tsx"],
          environment: "happy-dom",
          setupFiles: ["src/test-setup.ts"],
        },
      },
    ],
  },
});
