/** The checks on the sources: `npm run unit`. Those on the built package are in vitest.e2e.config.ts. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000
  }
})
