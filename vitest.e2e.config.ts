/** The checks on the built and packed package, in Node and in a browser: `npm run e2e`, after a build. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['e2e/**/*.test.ts'],
    globalSetup: ['e2e/support/pack.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } },
    // Browsers and compilers are heavy: one file at a time keeps their time-outs honest on a small machine.
    fileParallelism: false
  }
})
