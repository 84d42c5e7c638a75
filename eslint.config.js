import js from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

export default defineConfig(
  globalIgnores(['dist/', '.build/', 'dist-docs/', '.data/', 'coverage/', 'e2e/fixtures/']),
  js.configs.recommended,
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // State machines and wire codes are mapped without a default for what was forgotten.
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: false }],
      // Numbers are written in messages everywhere, and are no mistake there.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      eqeqeq: 'error',
      complexity: ['error', 15],
      'max-depth': ['error', 4],
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }]
    }
  },
  {
    // The suites are functions of their own length, adapters are async by contract, and a test may well touch a method unbound.
    files: ['test/**/*.ts', 'e2e/**/*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off'
    }
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    rules: { eqeqeq: 'error', 'no-undef': 'error', 'no-unused-vars': ['error', { argsIgnorePattern: '^_' }] }
  },
  { files: ['scripts/**', '*.js', '*.mjs', 'demo/**'], languageOptions: { globals: nodeGlobals() } },
  { files: ['demo/page/**', 'scripts/browser/**'], languageOptions: { globals: browserGlobals() } },
  { files: ['e2e/support/page/**'], languageOptions: { globals: readonly(['btoa', 'crypto', 'document', 'importScripts', 'location', 'SharedWorker', 'URL', 'Worker']) } }
)

function nodeGlobals() {
  return readonly(['process', 'console', 'URL', 'Buffer', 'crypto', 'btoa', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'])
}

function browserGlobals() {
  return readonly(['document', 'window', 'location', 'fetch', 'crypto', 'console', 'btoa', 'atob', 'TextEncoder', 'TextDecoder', 'localStorage', 'performance', 'queueMicrotask', 'requestAnimationFrame', 'globalThis', 'MessageChannel'])
}

function readonly(names) {
  return Object.fromEntries(names.map(name => [name, 'readonly']))
}
