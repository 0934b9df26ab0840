import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The built files lie inside the Python package, so that the wheel carries them and the server finds them.
export default defineConfig({
  plugins: [react()],
  logLevel: "error", // what is to be read is errors; packages warn about themselves
  build: {
    outDir: "../ksql/_web",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the page's policy lets no data: scripts or fonts in, and files are cached
    modulePreload: { polyfill: false }, // it would be an inline script
    chunkSizeWarningLimit: 2000, // the GraphQL explorer is its own route
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
